package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestResponseReader(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	tests := []struct {
		name, wire string
		want       response
		body       string
		err        string
	}{
		{"length", ok + "Content-Length: 5\r\n\r\nhello", response{200, 5}, "hello", ""},
		{"letter case", ok + "content-LENGTH:5\r\n\r\nhello", response{200, 5}, "hello", ""},
		{"empty", ok + "Content-Length: 0\r\n\r\n", response{200, 0}, "", ""},
		{"chunks", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", response{200, 5}, "hello", ""},
		{"trailer", ok + "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n", response{200, 10}, "0123456789", ""},
		{"an error", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}", response{503, 2}, "{}", ""},
		{"cut in the body", ok + "Content-Length: 5\r\n\r\nhel", response{}, "", "unexpected EOF"},
		{"cut in a chunk", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", response{}, "", "unexpected EOF"},
		{"cut before the last chunk", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", response{}, "", "unexpected EOF"},
		{"no chunk size", ok + "Transfer-Encoding: chunked\r\n\r\nx\r\n", response{}, "", "chunk size"},
		{"chunk too long", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", response{}, "", "after a chunk"},
		{"no length", ok + "\r\n", response{}, "", "neither"},
		{"not HTTP", "SSH-2.0-x\r\n\r\n", response{}, "", "not an HTTP/1.1 response"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, conn := range []io.Reader{strings.NewReader(test.wire), iotest.OneByteReader(strings.NewReader(test.wire))} {
				r := &responseReader{conn: conn, buf: make([]byte, 256)}
				var body []byte
				got, err := r.next(&body)
				if test.err != "" {
					if err == nil || !strings.Contains(err.Error(), test.err) {
						t.Fatalf("error %v, want one with %q", err, test.err)
					}
					continue
				}
				if err != nil || got != test.want || string(body) != test.body {
					t.Fatalf("got %+v %q %v, want %+v %q", got, body, err, test.want, test.body)
				}
			}
		})
	}
}

func TestResponseReaderKeepsItsPlace(t *testing.T) {
	one := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	two := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde"
	r := &responseReader{conn: strings.NewReader(strings.Repeat(one+two, 50)), buf: make([]byte, 100)}
	for i := range 100 {
		want := []string{"abc", "de"}[i%2]
		var body []byte
		if _, err := r.next(&body); err != nil || string(body) != want {
			t.Fatalf("response %d: %q %v, want %q", i, body, err, want)
		}
	}
	if _, err := r.next(nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("after the last: %v", err)
	}
}

// FuzzResponseReader requires that an answer does not depend on how it arrives.
func FuzzResponseReader(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		read := func(conn io.Reader) (response, string, bool) {
			r := &responseReader{conn: conn, buf: make([]byte, 128)}
			var body []byte
			answer, err := r.next(&body)
			return answer, string(body), err == nil
		}
		a, bodyA, okA := read(bytes.NewReader(wire))
		b, bodyB, okB := read(iotest.OneByteReader(bytes.NewReader(wire)))
		if okA != okB || okA && (a != b || bodyA != bodyB) {
			t.Fatalf("at once %+v %q %v, byte by byte %+v %q %v", a, bodyA, okA, b, bodyB, okB)
		}
		if okA && a.size != int64(len(bodyA)) {
			t.Fatalf("size %d of %d bytes", a.size, len(bodyA))
		}
	})
}
