package sdk

import (
	"context"
	"errors"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
)

// Handshake is what gateway and plugin agree on before they talk. Its version is the
// breaking major only; everything else is a capability.
var Handshake = goplugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "ATHENA_PLUGIN",
	MagicCookieValue: "b6c7c1f0-7a54-4f5a-9a0e-2a3c0c4f7d11",
}

// LifelineEnv names the environment variable that holds the number of an inherited file
// descriptor. A plugin exits when it reads the end of it: the gateway is gone.
const LifelineEnv = "ATHENA_PLUGIN_LIFELINE"

// ProtocolFeatures is the version of the protocol's features that this SDK speaks.
const ProtocolFeatures = "1.0"

// Limits of the connection between gateway and plugin, in bytes. The windows are fixed:
// with grown ones, readers that stall would fill the gateway's memory.
const (
	maxMessage   = 64 << 20
	streamWindow = 256 << 10
	connWindow   = 4 << 20
)

// pluginName is the key of the one entry of the plugin set.
const pluginName = "athena"

// PluginSet is what the gateway's go-plugin client needs to start a plugin.
func PluginSet() goplugin.PluginSet { return goplugin.PluginSet{pluginName: &grpcPlugin{}} }

// grpcPlugin registers the services with go-plugin's server.
type grpcPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server
}

func (p *grpcPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	if p.server == nil {
		return errors.New("not a plugin process")
	}
	p.server.register(s)
	return nil
}

func (p *grpcPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// DialOptions are the options for a gRPC connection to a plugin.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(newLocalCredentials()),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		experimental.WithBufferPool(frames),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(codec{}),
			grpc.MaxCallRecvMsgSize(maxMessage),
			grpc.MaxCallSendMsgSize(maxMessage),
		),
	}
}

func serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(newLocalCredentials()),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		experimental.BufferPool(frames),
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
	}
}
