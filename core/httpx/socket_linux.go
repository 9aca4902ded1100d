package httpx

import "golang.org/x/sys/unix"

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
