package rawio

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// maxChunk bounds one system call, which keeps its processor while bytes are copied.
const maxChunk = 128 << 10

// conn is a socket whose bytes are moved by raw system calls.
type conn struct {
	net.Conn
	raw         syscall.RawConn
	read, write direction
}

// direction is what one system call needs. Its callback is made once: a closure per call
// would be an allocation per call.
type direction struct {
	mu    sync.Mutex // one caller at a time, as in package net
	buf   []byte
	n     int
	errno syscall.Errno
	try   func(fd uintptr) (done bool)
}

func newConn(c net.Conn) net.Conn {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return c
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return c
	}
	r := &conn{Conn: c, raw: raw}
	r.read.try = r.read.call(syscall.SYS_READ)
	r.write.try = r.write.call(syscall.SYS_WRITE)
	return r
}

// call makes the callback for a system call. It is done unless the socket would block.
func (d *direction) call(trap uintptr) func(fd uintptr) bool {
	return func(fd uintptr) bool {
		for {
			n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(d.buf))), uintptr(len(d.buf)))
			switch errno {
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				return false
			case 0:
				d.n, d.errno = int(n), 0
			default:
				d.n, d.errno = 0, errno
			}
			return true
		}
	}
}

// Read and Write are net.Conn's.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	d := &c.read
	d.mu.Lock()
	defer d.mu.Unlock()
	d.buf = p[:min(len(p), maxChunk)]
	err := c.raw.Read(d.try)
	d.buf = nil
	switch {
	case err != nil:
		return 0, err
	case d.errno != 0:
		return 0, c.failed("read", d.errno)
	case d.n == 0:
		return 0, io.EOF
	}
	return d.n, nil
}

func (c *conn) Write(p []byte) (int, error) {
	d := &c.write
	d.mu.Lock()
	defer d.mu.Unlock()
	written := 0
	for written < len(p) {
		d.buf = p[written:min(len(p), written+maxChunk)]
		err := c.raw.Write(d.try)
		d.buf = nil
		if err != nil {
			return written, err
		}
		if d.errno != 0 {
			return written, c.failed("write", d.errno)
		}
		written += d.n
	}
	return written, nil
}

func (c *conn) failed(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: c.RemoteAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}

// SyscallConn gives the socket to those who look at it.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }
