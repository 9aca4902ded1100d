package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
)

// DevSuffix ends the name of the file in the plugin directory that tells a gateway of a
// plugin's process that was started by hand.
const DevSuffix = ".dev"

// DevProcess is the content of such a file, in JSON.
type DevProcess struct {
	PID      int    `json:"pid"`
	Address  string `json:"address"` // of a unix socket
	Protocol uint   `json:"protocol"`
}

// devFlag is the argument that makes Serve serve a plugin directory's gateway without being
// started by it: plugin --dev DIR.
const devFlag = "--dev"

// serveDev serves on a socket of its own until a signal ends it, and tells the gateway of the
// plugin directory dir.
func serveDev(s *server, name, dir string) error {
	temp, err := os.MkdirTemp("", "athena-dev-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	listener, err := net.Listen("unix", filepath.Join(temp, "s"))
	if err != nil {
		return err
	}
	text, err := json.Marshal(DevProcess{PID: os.Getpid(), Address: listener.Addr().String(), Protocol: Handshake.ProtocolVersion})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name+DevSuffix)
	if err := writeWhole(path, text); err != nil {
		listener.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no plugin directory %s: name the one of the gateway's plugins.dir", dir)
		}
		return err
	}
	defer removeOwn(path, text)
	hclog.Default().Info("serving; a gateway with plugins.verify: dev attaches by itself", "file", path)
	server := grpc.NewServer(serverOptions()...)
	s.register(server)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		removeOwn(path, text) // the gateway goes back to the plugin's file, when its calls here have ended
		select {
		case <-s.left():
		case <-signals: // somebody does not want to wait
		}
		server.Stop()
	}()
	err = server.Serve(listener)
	s.closeAll()
	return err
}

// removeOwn removes the file, unless another process has written it anew.
func removeOwn(path string, text []byte) {
	if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, text) {
		os.Remove(path)
	}
}

// writeWhole writes a file so that nobody reads half of it.
func writeWhole(path string, text []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".dev-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
