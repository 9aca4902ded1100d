//go:build linux

package e2e

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/athena-gateway/athena/internal/testenv"
)

// withPassword returns uri with a password, which a server that trusts everybody ignores.
func withPassword(t *testing.T, uri, password string) string {
	t.Helper()
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	if _, set := parsed.User.Password(); set {
		return uri // this server may ask for it
	}
	parsed.User = url.UserPassword(parsed.User.Username(), password)
	return parsed.String()
}

func withDatabase(t *testing.T, uri, name string) string {
	t.Helper()
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Path = "/" + name
	return parsed.String()
}

// refusePasswords runs a server that answers every password as PostgreSQL answers a wrong
// one, and returns its address.
func refusePasswords(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			refusePassword(conn)
		}
	}()
	return listener.Addr().String()
}

func refusePassword(conn net.Conn) {
	defer conn.Close()
	server := pgproto3.NewBackend(conn, conn)
	if _, err := server.ReceiveStartupMessage(); err != nil {
		return
	}
	server.Send(&pgproto3.AuthenticationCleartextPassword{})
	if server.Flush() != nil || server.SetAuthType(pgproto3.AuthTypeCleartextPassword) != nil {
		return
	}
	if _, err := server.Receive(); err != nil {
		return
	}
	server.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "28P01",
		Message: `password authentication failed for user "app"`})
	_ = server.Flush() // the client may have left
}

// copyPlugins makes a plugin directory with the built plugins in it.
func copyPlugins(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"postgres", "sqlite"} {
		if err := os.Symlink(filepath.Join(testenv.BuildPlugins(t), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// script puts a shell script among the plugins.
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}
