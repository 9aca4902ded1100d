//go:build !linux

package main

import "net"

// liveness looks at a socket without reading from it or waiting, where that is possible.
type liveness struct{}

func newLiveness(net.Conn) *liveness { return nil }

func (*liveness) isDead() bool { return false }
