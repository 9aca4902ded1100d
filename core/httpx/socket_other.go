//go:build !linux

package httpx

import "net"

// Only Linux tells cheaply that a client has left. Elsewhere it is noticed at the next
// write, and a reader counts as stalled when no byte is taken for the write timeout.
type pollFd struct{}

func watchFor(int) pollFd { return pollFd{} }

func poll([]pollFd) {}

func gone(*pollFd) bool { return false }

func unsent(int) int { return 0 }

// acceptQueued: elsewhere the few connections that wait at a shutdown are reset.
func acceptQueued(*net.TCPListener) []net.Conn { return nil }
