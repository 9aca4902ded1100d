package sdk

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/athena-gateway/athena/sdk/rawio"
)

// localCredentials are for a socket that only the gateway's user can reach: no TLS. They
// are where gRPC lets both halves choose how bytes are moved.
type localCredentials struct {
	credentials.TransportCredentials
}

func newLocalCredentials() credentials.TransportCredentials {
	return localCredentials{insecure.NewCredentials()}
}

func (c localCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.TransportCredentials.ClientHandshake(ctx, authority, rawio.Wrap(conn))
}

func (c localCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.TransportCredentials.ServerHandshake(rawio.Wrap(conn))
}

func (c localCredentials) Clone() credentials.TransportCredentials {
	return localCredentials{c.TransportCredentials.Clone()}
}
