package httpx

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/gofiber/fiber/v2"

	"github.com/athena-gateway/athena/sdk"
)

// flushFrom is how much compressed output is collected before it is sent.
const flushFrom = 16 << 10

// streamBody is an answer too large to be buffered. The HTTP server reads it by WriteTo,
// whose error breaks the transfer; nothing may end a broken body as if it were whole.
type streamBody struct {
	server   *Server
	request  *Request
	response *Response

	start   *bytes.Buffer // what had been collected before streaming began
	coding  *coding
	encoder encoder       // writes to encoded
	encoded *bytes.Buffer // output not yet sent
	pending []byte        // for Read: not yet taken

	started, ended bool
	err            error // why the body did not end
	sent           int64
}

func (s *Server) newStreamBody(r *Request, response *Response, start *bytes.Buffer) *streamBody {
	b := &streamBody{server: s, request: r, response: response, start: start}
	if b.coding = s.coding(r, response, start.Len()); b.coding != nil {
		r.fctx.Response.Header.Set(fiber.HeaderContentEncoding, b.coding.name)
		b.encoded = buffers.Get().(*bytes.Buffer)
		b.encoder = b.coding.get(b.encoded)
	}
	return b
}

// next returns the next bytes for the wire, valid until the following call, and io.EOF
// after the last ones.
func (b *streamBody) next() ([]byte, error) {
	if b.encoder == nil {
		return b.plain()
	}
	b.encoded.Reset()
	for b.encoded.Len() < flushFrom {
		piece, err := b.plain()
		if err == io.EOF {
			err = b.encoder.Close()
			b.coding.put(b.encoder)
			b.encoder = nil
			return b.encoded.Bytes(), err
		}
		if err == nil {
			_, err = b.encoder.Write(piece)
		}
		if err != nil {
			return nil, err
		}
	}
	return b.encoded.Bytes(), nil
}

// plain returns the next bytes before compression.
func (b *streamBody) plain() ([]byte, error) {
	if !b.started {
		b.started = true
		return b.start.Bytes(), nil
	}
	if b.start != nil {
		putBuffer(b.start)
		b.start = nil
	}
	if b.ended {
		return nil, io.EOF
	}
	piece, err := b.response.Stream.Next()
	if err != io.EOF {
		return piece, err
	}
	b.ended = true
	if b.response.Suffix == nil {
		return nil, io.EOF
	}
	return b.response.Suffix(nil), nil
}

// WriteTo sends the body.
func (b *streamBody) WriteTo(w io.Writer) (n int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while streaming: %v", p)
		}
		b.err = err
	}()
	for {
		piece, err := b.next()
		if err == io.EOF {
			return b.sent, nil
		}
		if err != nil {
			return b.sent, err
		}
		written, err := w.Write(piece)
		b.sent += int64(written)
		if err != nil {
			return b.sent, err
		}
	}
}

// SupportsBodyWriteTo lets the HTTP server call WriteTo instead of Read.
func (b *streamBody) SupportsBodyWriteTo() bool { return true }

// Read is WriteTo for whoever insists on an io.Reader.
func (b *streamBody) Read(p []byte) (int, error) {
	for len(b.pending) == 0 {
		piece, err := b.next()
		if err != nil {
			if err != io.EOF {
				b.err = err
			}
			return 0, err
		}
		b.pending = piece
	}
	n := copy(p, b.pending)
	b.pending = b.pending[n:]
	b.sent += int64(n)
	return n, nil
}

// Close ends the call, whether the body was sent, broke off or was never asked for.
func (b *streamBody) Close() error {
	r := b.request
	if r.ended {
		return nil
	}
	err := b.err
	if err == nil && !b.ended {
		err = errors.New("the answer was not sent to its end")
	}
	status := r.fctx.Response.StatusCode()
	if err != nil {
		status, err = b.broken(err)
	}
	b.response.Stream.Close(err)
	if b.encoder != nil {
		b.coding.put(b.encoder)
	}
	for _, buffer := range []*bytes.Buffer{b.start, b.encoded} {
		if buffer != nil {
			putBuffer(buffer)
		}
	}
	b.server.end(r, status, int(b.sent))
	return nil
}

// broken logs why the transfer broke off and returns it, with the status for the books: the
// one that the error would have had. A HEAD request asked for no body.
func (b *streamBody) broken(err error) (int, error) {
	r := b.request
	if r.fctx.IsHead() && b.err == nil {
		return r.fctx.Response.StatusCode(), nil
	}
	var e *sdk.Error
	if !errors.As(err, &e) { // of the connection, not of the call
		e = &sdk.Error{Kind: sdk.Canceled, Reason: "client_left", Log: err.Error()}
	}
	f := classify(e, false)
	b.server.logFailure(r, &f, "answer broken off")
	if r.conn != nil && !r.fctx.Request.Header.IsHTTP11() {
		r.conn.reset() // without chunks, only this tells the client
	}
	return f.status, e
}
