//go:build linux && !race

package rawio

import "net"

func wrap(c net.Conn) net.Conn { return newConn(c) }
