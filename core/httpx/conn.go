package httpx

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/athena-gateway/athena/sdk/rawio"
)

const (
	// drainGrace is how long a drain leaves an idle connection open: a client that is
	// about to send meets an answer with Connection: close instead of a closed socket.
	drainGrace = 250 * time.Millisecond
	// lastLook is how long the socket is looked at before an idle connection is closed.
	lastLook = 5 * time.Millisecond
	// linger is how long a refused request is read on, so that its answer is not lost
	// in the reset that closing on unread bytes would cause.
	linger = 2 * time.Second
)

// listener hands out conns. A connection that has been made before the listener stops is
// served: the kernel would reset what waits in its queue.
type listener struct {
	net.Listener
	server  *Server
	stopped bool
	queued  []net.Conn // taken from the kernel's queue at the end
}

type deadliner interface{ SetDeadline(time.Time) error }

// Accept waits for a connection until stop is called.
func (l *listener) Accept() (net.Conn, error) {
	for !l.stopped {
		nc, err := l.Listener.Accept()
		if err == nil {
			return l.server.conns.add(newConn(nc, l.server)), nil
		}
		if !l.server.draining.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		l.stopped = true
		if tcp, ok := l.Listener.(*net.TCPListener); ok {
			l.queued = acceptQueued(tcp)
		}
		l.Listener.Close()
	}
	if len(l.queued) == 0 {
		return nil, net.ErrClosed
	}
	nc := l.queued[0]
	l.queued = l.queued[1:]
	return l.server.conns.add(newConn(nc, l.server)), nil
}

// stop wakes Accept.
func (l *listener) stop() {
	if d, ok := l.Listener.(deadliner); ok && d.SetDeadline(time.Now()) == nil {
		return
	}
	l.Listener.Close()
}

// conn is a connection of a client. It renews its write deadline while bytes leave, and
// knows how to end while the server drains. Read, Write and the deadlines are called by
// the one goroutine that serves it.
type conn struct {
	net.Conn
	raw    net.Conn // the same, for the bytes
	server *Server
	fd     int // -1: unknown

	begun bool      // bytes of a request have arrived since the last answer
	asked time.Time // the read deadline that the HTTP server wants
	armed time.Time // the one that is set, perhaps an earlier one
	grace time.Time // end of the time that a drain leaves an idle connection
	last  bool      // the last look before closing

	renewAt time.Time // when the write deadline is due for renewal
	stalls  int       // deadlines in a row without progress
	unsent  int       // bytes in the kernel's queue at the last of them

	lingers    bool // the request was not read to its end
	closed     atomic.Bool
	prev, next *conn
}

func newConn(nc net.Conn, s *Server) *conn {
	c := &conn{Conn: nc, raw: rawio.Wrap(nc), server: s, fd: -1}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { c.fd = int(fd) })
		}
	}
	return c
}

// SetReadDeadline is the HTTP server's idle or read timeout. The server moves it on with each
// request, which would be work for the timers: an earlier one stays until Read meets it.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.asked = t
	var err error
	if c.armed.IsZero() || t.Before(c.armed) {
		err = c.arm(t)
	}
	// Checked after the deadline is set: a drain that begins in between wakes the Read.
	if err == nil && !c.begun && c.server.draining.Load() {
		err = c.arm(c.idleUntil())
	}
	return err
}

func (c *conn) arm(t time.Time) error {
	c.armed = t
	return c.Conn.SetReadDeadline(t)
}

// idleUntil is when a drain closes the connection if no request begins.
func (c *conn) idleUntil() time.Time {
	if c.grace.IsZero() {
		c.grace = time.Now().Add(drainGrace)
	}
	if !c.asked.IsZero() && c.asked.Before(c.grace) {
		return c.asked
	}
	return c.grace
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.raw.Read(p)
		if n > 0 {
			c.begun = true
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		now := time.Now()
		if !c.server.draining.Load() {
			if !c.asked.IsZero() && !now.Before(c.asked) {
				return n, err
			}
			if c.arm(c.asked); !c.server.draining.Load() {
				continue
			}
		}
		// The drain woke us, or the time is up.
		until := c.asked
		if !c.begun {
			until = c.idleUntil()
		}
		switch {
		case now.Before(until) || c.begun && until.IsZero():
			c.arm(until)
		case c.begun:
			return 0, err
		case c.last:
			return 0, io.EOF
		default:
			// A deadline hides bytes that came just before it: look once more.
			c.last = true
			c.arm(now.Add(lastLook))
		}
	}
}

// Write fails when nothing has left for the server's write timeout. A slow reader is no
// stalled one: while the kernel's queue shrinks, the deadline is renewed.
func (c *conn) Write(p []byte) (int, error) {
	tick := c.server.options.WriteTimeout / 3
	written := 0
	for {
		if now := time.Now(); now.After(c.renewAt) {
			if err := c.Conn.SetWriteDeadline(now.Add(tick)); err != nil {
				return written, err
			}
			c.renewAt = now.Add(min(tick/10, time.Second))
		}
		n, err := c.raw.Write(p[written:])
		written += n
		if err == nil {
			c.stalls, c.unsent = 0, 0
			return written, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
		c.stalls++
		left := unsent(c.fd)
		if n > 0 || left < c.unsent {
			c.stalls = 0
		}
		c.unsent = left
		if c.stalls >= 3 {
			c.reset()
			return written, err
		}
		c.renewAt = time.Time{}
	}
}

// reset makes the close that follows a reset: the client sees that the answer is broken
// even where HTTP cannot say so, and the kernel does not keep what was never read.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
}

// Close closes the connection. After a request that was not read to its end, it first
// lets the client read the answer.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if c.lingers {
		if tcp, ok := c.Conn.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
			tcp.SetReadDeadline(time.Now().Add(linger))
			io.Copy(io.Discard, tcp)
		}
	}
	err := c.Conn.Close()
	c.server.conns.remove(c)
	return err
}

// connSet holds the open connections.
type connSet struct {
	mu    sync.Mutex
	first *conn
	wg    sync.WaitGroup // the connections, and who accepts them
}

func (s *connSet) add(c *conn) *conn {
	s.wg.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.next = s.first; c.next != nil {
		c.next.prev = c
	}
	s.first = c
	return c
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.first = c.next
	}
	s.mu.Unlock()
	s.wg.Done()
}

// each calls f for every open connection.
func (s *connSet) each(f func(net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := s.first; c != nil; c = c.next {
		f(c.Conn)
	}
}
