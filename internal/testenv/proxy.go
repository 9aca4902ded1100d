package testenv

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// Proxy passes connections on to a PostgreSQL server and can disturb them. It reads the
// messages of the protocol, so that a connection ends exactly where a test wants; those
// of a connection that asks for TLS are passed on unread.
type Proxy struct {
	address, target string
	uri             url.URL
	running         sync.WaitGroup

	mu       sync.Mutex
	flowing  *sync.Cond
	listener net.Listener // nil: connections are refused
	frozen   bool
	latency  time.Duration
	cuts     []*Cut
	links    map[*link]struct{}
}

// Cut is a place where a connection ends, once.
type Cut struct {
	match    func(l *link, fromServer bool, kind byte, body []byte) bool
	pass     bool          // the message is passed on before
	happened chan struct{} // closed
}

// Happened is closed when the connection has ended there.
func (c *Cut) Happened() <-chan struct{} { return c.happened }

// StartProxy starts a proxy before uri's server.
func StartProxy(t testing.TB, uri string) *Proxy {
	t.Helper()
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{address: listener.Addr().String(), target: parsed.Host, uri: *parsed, links: map[*link]struct{}{}}
	p.uri.Host = p.address
	p.flowing = sync.NewCond(&p.mu)
	p.listen(listener)
	t.Cleanup(func() {
		p.Refuse()
		p.Thaw()
		p.CutAll()
		p.running.Wait()
	})
	return p
}

// URI reaches the server through the proxy.
func (p *Proxy) URI() string { return p.uri.String() }

// Refuse lets nobody connect any more, as if no server ran there. Connections that are
// there stay.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
}

// Accept undoes Refuse.
func (p *Proxy) Accept(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	p.listen(listener)
}

// Freeze keeps connections open and passes nothing on; what is sent comes after Thaw.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Thaw undoes Freeze.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	p.flowing.Broadcast()
}

// Delay makes every message wait before it is passed on.
func (p *Proxy) Delay(latency time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = latency
}

// CutAll ends the connections that are there.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// CutBefore ends a connection instead of passing on the next message of the server's that
// has this type and holds text.
func (p *Proxy) CutBefore(kind byte, text string) *Cut {
	return p.cut(false, func(_ *link, fromServer bool, k byte, body []byte) bool {
		return fromServer && k == kind && bytes.Contains(body, []byte(text))
	})
}

// CutBeforeClient is CutBefore for messages to the server, which never sees it. A startup
// message has no type: it is 0.
func (p *Proxy) CutBeforeClient(kind byte, text string) *Cut {
	return p.cut(false, func(_ *link, fromServer bool, k byte, body []byte) bool {
		return !fromServer && k == kind && bytes.Contains(body, []byte(text))
	})
}

// CutAfterClient ends a connection when such a message has been passed on to the server,
// before those that follow.
func (p *Proxy) CutAfterClient(kind byte, text string) *Cut {
	return p.cut(true, func(_ *link, fromServer bool, k byte, body []byte) bool {
		return !fromServer && k == kind && bytes.Contains(body, []byte(text))
	})
}

// CutAnswer ends a connection instead of passing on whatever the server sends next after
// such a message to it. It has dealt with the whole round trip then.
func (p *Proxy) CutAnswer(kind byte, text string) *Cut {
	var asked *link
	return p.cut(false, func(l *link, fromServer bool, k byte, body []byte) bool {
		if !fromServer && k == kind && bytes.Contains(body, []byte(text)) {
			asked = l
		}
		return fromServer && asked == l
	})
}

// CutAfterBytes ends a connection when n bytes of whole messages have come from the
// server, counted over all connections from now on.
func (p *Proxy) CutAfterBytes(n int) *Cut {
	return p.cut(true, func(_ *link, fromServer bool, _ byte, body []byte) bool {
		if fromServer {
			n -= messageHeader + len(body)
		}
		return fromServer && n <= 0
	})
}

func (p *Proxy) cut(pass bool, match func(*link, bool, byte, []byte) bool) *Cut {
	c := &Cut{match: match, pass: pass, happened: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts = append(p.cuts, c)
	return c
}

func (p *Proxy) listen(listener net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener = listener
	p.running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.connect(client)
		}
	})
}

// link is a client's connection and the one to the server that serves it.
type link struct {
	client, server net.Conn
	ended          bool // by a cut
}

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}

func (p *Proxy) connect(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		client.Close()
		return
	}
	l := &link{client: client, server: server}
	p.mu.Lock()
	p.links[l] = struct{}{}
	p.mu.Unlock()
	p.running.Go(func() {
		p.serve(l)
		l.close()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	})
}

const (
	messageHeader = 5 // type and length
	requestTLS    = 80877103
	requestGSS    = 80877104
)

func (p *Proxy) serve(l *link) {
	client, server := bufio.NewReaderSize(l.client, 32<<10), bufio.NewReaderSize(l.server, 32<<10)
	startup, err := readMessage(client, 0)
	if err != nil || len(startup) < 8 || !p.forward(l, false, 0, startup, startup[4:]) {
		return
	}
	pass := p.passMessages
	if code := binary.BigEndian.Uint32(startup[4:]); code == requestTLS || code == requestGSS {
		pass = p.passBytes
	}
	var answering sync.WaitGroup
	answering.Go(func() {
		pass(l, true, server)
		l.close()
	})
	pass(l, false, client)
	l.close()
	answering.Wait()
}

func (p *Proxy) passMessages(l *link, fromServer bool, from *bufio.Reader) {
	for {
		kind, err := from.ReadByte()
		if err != nil {
			return
		}
		message, err := readMessage(from, kind)
		if err != nil || !p.forward(l, fromServer, kind, message, message[messageHeader:]) {
			return
		}
	}
}

func (p *Proxy) passBytes(l *link, fromServer bool, from *bufio.Reader) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil || !p.forward(l, fromServer, 0, b[:n], b[:n]) {
			return
		}
	}
}

// readMessage reads a message whose type, unless it has none, has been read.
func readMessage(from io.Reader, kind byte) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	var message []byte
	if kind != 0 {
		message = append(message, kind)
	}
	message = append(message, length[:]...)
	start := len(message)
	message = append(message, make([]byte, max(binary.BigEndian.Uint32(length[:]), 4)-4)...)
	_, err := io.ReadFull(from, message[start:])
	return message, err
}

// forward passes a message on, unless the connection ends here.
func (p *Proxy) forward(l *link, fromServer bool, kind byte, message, body []byte) bool {
	cut, ended := p.gate(l, fromServer, kind, body)
	to := l.server
	if fromServer {
		to = l.client
	}
	if !ended || cut != nil && cut.pass {
		if _, err := to.Write(message); err != nil {
			ended = true
		}
	}
	if cut != nil {
		l.close()
		close(cut.happened)
	}
	return !ended
}

// gate holds a message back as long as it has to wait, and reports whether its connection
// ends with it, and by which cut.
func (p *Proxy) gate(l *link, fromServer bool, kind byte, body []byte) (cut *Cut, ended bool) {
	p.mu.Lock()
	latency := p.latency
	p.mu.Unlock()
	time.Sleep(latency)
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.frozen {
		p.flowing.Wait()
	}
	if l.ended {
		return nil, true
	}
	for i, c := range p.cuts {
		if c.match(l, fromServer, kind, body) {
			p.cuts = slices.Delete(p.cuts, i, i+1)
			l.ended = true
			return c, true
		}
	}
	return nil, false
}
