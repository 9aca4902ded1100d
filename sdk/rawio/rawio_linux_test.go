package rawio

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// pair is a connected pair of sockets, the first end raw.
func pair(t *testing.T, network string) (raw, other net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled := make(chan net.Conn, 1)
	go func() {
		c, err := net.Dial(network, ln.Addr().String())
		if err != nil {
			t.Error(err)
		}
		dialled <- c
	}()
	other, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	raw = newConn(<-dialled)
	t.Cleanup(func() { raw.Close(); other.Close() })
	return raw, other
}

func both(t *testing.T, test func(t *testing.T, raw, other net.Conn)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			raw, other := pair(t, network)
			test(t, raw, other)
		})
	}
}

// TestBytes: more than any buffer holds goes through both ways, against a reader that is
// slow, and ends with io.EOF.
func TestBytes(t *testing.T) {
	both(t, func(t *testing.T, raw, other net.Conn) {
		data := make([]byte, 9<<20)
		random := rand.NewChaCha8([32]byte{})
		random.Read(data)
		go func() {
			for rest := data; len(rest) > 0; {
				n, err := raw.Write(rest[:min(len(rest), 1<<20+7)])
				if err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		}()
		echoed := make(chan error, 1)
		go func() {
			_, err := io.CopyN(other, other, int64(len(data))) // back again
			echoed <- errors.Join(err, other.Close())
		}()
		back := make([]byte, len(data))
		if _, err := io.ReadFull(raw, back); err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(back) != sha256.Sum256(data) {
			t.Fatal("the bytes came back changed")
		}
		if err := <-echoed; err != nil {
			t.Error(err)
		}
		if n, err := raw.Read(back); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
	})
}

// TestDeadlines: both directions keep them, and work again when they are moved.
func TestDeadlines(t *testing.T) {
	both(t, func(t *testing.T, raw, other net.Conn) {
		raw.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := raw.Read(make([]byte, 1))
		var timeout net.Error
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("read: %d, %v", n, err)
		}
		raw.SetReadDeadline(time.Time{})
		other.Write([]byte("x"))
		if n, err := raw.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("read again: %d, %v", n, err)
		}
		raw.SetWriteDeadline(time.Now().Add(time.Second))
		written, err := raw.Write(make([]byte, 64<<20))
		if written == 0 || written == 64<<20 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %d, %v", written, err)
		}
	})
}

// TestClose: it wakes a reader, and later calls say so.
func TestClose(t *testing.T) {
	both(t, func(t *testing.T, raw, _ net.Conn) {
		read := make(chan error, 1)
		go func() {
			_, err := raw.Read(make([]byte, 1))
			read <- err
		}()
		time.AfterFunc(10*time.Millisecond, func() { raw.Close() })
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
		if _, err := raw.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
	})
}

// TestBroken: writing to a peer that is gone is an error that names the operation.
func TestBroken(t *testing.T) {
	both(t, func(t *testing.T, raw, other net.Conn) {
		other.Close()
		var err error
		for range 100 {
			if _, err = raw.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
				break
			}
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "write" || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v", err)
		}
	})
}
