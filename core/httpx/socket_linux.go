package httpx

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// pollFd asks the kernel whether the other end of a connection is gone.
type pollFd = unix.PollFd

func watchFor(fd int) pollFd { return pollFd{Fd: int32(fd), Events: unix.POLLRDHUP} }

// poll fills in the answers without waiting.
func poll(fds []pollFd) {
	if len(fds) == 0 {
		return
	}
	if _, err := unix.Poll(fds, 0); err != nil { // interrupted: the next scan sees it
		for i := range fds {
			fds[i].Revents = 0
		}
	}
}

func gone(p *pollFd) bool { return p.Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0 }

// unsent is how many written bytes the other end has not acknowledged.
func unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// acceptQueued takes the connections that wait to be accepted and stops listening.
func acceptQueued(ln *net.TCPListener) []net.Conn {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil
	}
	var accepted []int
	raw.Control(func(fd uintptr) {
		for {
			nfd, _, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err == unix.EINTR || err == unix.ECONNABORTED {
				continue
			}
			if err != nil { // the queue is empty
				unix.Shutdown(int(fd), unix.SHUT_RD)
				return
			}
			accepted = append(accepted, nfd)
		}
	})
	var conns []net.Conn
	for _, fd := range accepted {
		file := os.NewFile(uintptr(fd), "connection")
		if nc, err := net.FileConn(file); err == nil {
			conns = append(conns, nc)
		}
		file.Close()
	}
	return conns
}
