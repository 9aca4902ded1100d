package httpx

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/valyala/fasthttp"
	"golang.org/x/net/http/httpguts"

	"github.com/athena-gateway/athena/sdk"
)

const (
	// streamFrom is the size from which an answer streams.
	streamFrom = 1 << 20
	// copyUpTo is the size up to which an answer is copied into the connection's own
	// buffer, which the connection keeps.
	copyUpTo = 16 << 10

	jsonType = "application/json"
)

// buffers are for answers on their way out.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= 4*streamFrom {
		b.Reset()
		buffers.Put(b)
	}
}

// stream collects the pieces of an answer. One that ends below streamFrom is sent whole,
// a larger one continues in a streamBody. An error means that nothing has been sent.
func (s *Server) stream(r *Request, response *Response) error {
	body := response.Stream
	b := buffers.Get().(*bytes.Buffer)
	b.WriteString(response.Prefix)
	for {
		piece, err := body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			putBuffer(b)
			r.open = nil
			body.Close(err)
			return err
		}
		b.Write(piece)
		if b.Len() > streamFrom {
			s.head(r, response)
			r.open = nil // the streamBody closes it
			r.fctx.Response.ImmediateHeaderFlush = true
			r.fctx.Response.SetBodyStream(s.newStreamBody(r, response, b), -1)
			return nil
		}
	}
	if response.Suffix != nil {
		b.Write(response.Suffix(b.AvailableBuffer()))
	}
	r.open = nil
	body.Close(nil)
	s.head(r, response)
	coding := s.coding(r, response, b.Len())
	if coding == nil {
		s.sendBuffer(r, b)
		return nil
	}
	err := s.sendCompressed(r, coding, b.Bytes())
	putBuffer(b)
	return err
}

// sendBytes answers with bytes that the handler has given away.
func (s *Server) sendBytes(r *Request, response *Response) error {
	s.head(r, response)
	if coding := s.coding(r, response, len(response.Bytes)); coding != nil {
		return s.sendCompressed(r, coding, response.Bytes)
	}
	r.fctx.Response.SetBodyRaw(response.Bytes)
	s.end(r, r.fctx.Response.StatusCode(), len(response.Bytes))
	return nil
}

func (s *Server) sendCompressed(r *Request, coding *coding, body []byte) error {
	b := buffers.Get().(*bytes.Buffer)
	if err := coding.compress(b, body); err != nil {
		putBuffer(b)
		return err
	}
	r.fctx.Response.Header.Set(fiber.HeaderContentEncoding, coding.name)
	s.sendBuffer(r, b)
	return nil
}

// sendBuffer answers with a pooled buffer: a small one is copied into the connection's
// own, a large one returns to the pool when it has been written.
func (s *Server) sendBuffer(r *Request, b *bytes.Buffer) {
	size := b.Len()
	if size <= copyUpTo {
		r.fctx.Response.SetBody(b.Bytes())
		putBuffer(b)
	} else {
		r.fctx.Response.SetBodyStream(&wholeBody{b}, size)
	}
	s.end(r, r.fctx.Response.StatusCode(), size)
}

// wholeBody is a body of known length in a pooled buffer.
type wholeBody struct{ buffer *bytes.Buffer }

func (w *wholeBody) Read(p []byte) (int, error)          { return w.buffer.Read(p) }
func (w *wholeBody) WriteTo(to io.Writer) (int64, error) { return w.buffer.WriteTo(to) }
func (w *wholeBody) SupportsBodyWriteTo() bool           { return true }
func (w *wholeBody) Close() error                        { putBuffer(w.buffer); return nil }

// head sets status and headers. An answer is about now and may be for one caller alone: nobody is
// to keep it unless whoever made it says otherwise.
func (s *Server) head(r *Request, response *Response) {
	h := &r.fctx.Response.Header
	if response.Status != 0 {
		h.SetStatusCode(response.Status)
	}
	h.SetContentType(contentType(response))
	h.Set("X-Request-Id", r.ID)
	h.Set("X-Athena-Request-Id", r.ID)
	for _, header := range response.Header {
		if !settable(header) {
			s.log.Warn("a header of an answer is left out: it is not one that a route may set", "header", header.Name, "route", r.route.Path, "trace_id", r.ID)
			continue
		}
		h.Add(header.Name, header.Value)
	}
	if len(h.Peek(fiber.HeaderCacheControl)) == 0 {
		h.Set(fiber.HeaderCacheControl, "no-store")
	}
	if s.draining.Load() {
		h.SetConnectionClose()
	}
}

// settable reports whether a route may set a header: one that is well formed, since names and
// values may be a database's words, and that does not say where the answer ends.
func settable(header sdk.Pair) bool {
	switch strings.ToLower(header.Name) {
	case "content-length", "transfer-encoding", "connection", "keep-alive", "trailer", "upgrade":
		return false
	}
	return httpguts.ValidHeaderFieldName(header.Name) && httpguts.ValidHeaderFieldValue(header.Value)
}

func contentType(response *Response) string {
	switch {
	case response.ContentType == "":
		return jsonType
	case !httpguts.ValidHeaderFieldValue(response.ContentType):
		return "application/octet-stream"
	}
	return response.ContentType
}

// coding chooses how to compress a body of size bytes; nil: not at all.
func (s *Server) coding(r *Request, response *Response, size int) *coding {
	if size < compressFrom || !compressible(contentType(response)) {
		return nil
	}
	r.fctx.Response.Header.Add(fiber.HeaderVary, fiber.HeaderAcceptEncoding)
	return negotiate(r.fctx.Request.Header.Peek(fiber.HeaderAcceptEncoding))
}

// fail answers with an error envelope.
func (s *Server) fail(r *Request, e *sdk.Error) {
	f := classify(e, r.route.Writes)
	s.logFailure(r, &f, "request failed")
	r.fctx.Response.Reset()
	response := &Response{Status: f.status}
	if f.retryAfter > 0 {
		seconds := int64((f.retryAfter + time.Second - 1) / time.Second)
		response.Header = []sdk.Pair{{Name: fiber.HeaderRetryAfter, Value: strconv.FormatInt(seconds, 10)}}
	}
	s.head(r, response)
	body := f.appendEnvelope(nil, r.ID, r.route.Operation, r.route.Writes)
	r.fctx.Response.SetBody(body)
	s.end(r, f.status, len(body))
}

// logFailure writes the one line of a failed request that is the server's concern.
func (s *Server) logFailure(r *Request, f *failure, what string) {
	level := f.level
	if f.status >= 500 && level < hclog.Warn {
		level = hclog.Warn
	}
	if level >= hclog.Warn {
		s.log.Log(level, what, "method", r.Method(), "path", r.Place(), "status", f.status, "code", f.code, "trace_id", r.ID, "error", bounded(f.Error.Error()))
	}
}

// refuse answers what never reached a handler; Fiber calls it.
func (s *Server) refuse(c *fiber.Ctx, err error) error {
	s.answerError(c.Context(), err)
	return nil
}

// answerError tells what to do about a request that no route took. The texts are ours:
// the parser's own ones quote the request.
func (s *Server) answerError(fctx *fasthttp.RequestCtx, err error) {
	status := 500
	var fe *fiber.Error
	if errors.As(err, &fe) {
		status = fe.Code
	}
	f := failure{Error: &sdk.Error{Kind: sdk.Invalid}, status: status}
	switch status {
	case 404:
		f.code, f.Message = "route_not_found", "there is no such route"
		f.Hint = "GET /router/registry lists the routes and their methods"
	case 405:
		f.code, f.Message = "method_not_allowed", "the route does not know this method"
		if allow := fctx.Response.Header.Peek(fiber.HeaderAllow); len(allow) > 0 {
			f.Hint = "use " + strings.ReplaceAll(string(allow), ", ", " or ")
		}
	case 408:
		f.code, f.Message = "request_timeout", "the request did not arrive in time"
	case 413:
		f.code = "body_too_large"
		f.Message = "the request body is larger than " + strconv.Itoa(s.options.BodyLimit) + " bytes"
		f.Hint = "send fewer rows per request"
	case 431:
		f.code, f.Message = "headers_too_large", "the request's headers are larger than 16 KiB"
	default:
		f.code, f.Message, f.status = "malformed_request", "the request is not well-formed HTTP", 400
	}
	if status != 404 && status != 405 {
		if c, ok := fctx.Conn().(*conn); ok {
			c.lingers = true
		}
	}
	id := requestID(fctx)
	fctx.Response.Header.Set("X-Request-Id", id)
	fctx.Response.Header.Set("X-Athena-Request-Id", id)
	fctx.Response.SetStatusCode(f.status)
	fctx.Response.Header.SetContentType(jsonType)
	fctx.Response.Header.Set(fiber.HeaderCacheControl, "no-store")
	if s.draining.Load() {
		fctx.Response.Header.SetConnectionClose()
	}
	body := f.appendEnvelope(nil, id, "", false)
	fctx.Response.SetBody(body)
	s.metrics.inFlight.Add(1) // end takes it back
	s.other.end(f.status, 0, len(body), 0)
	if s.log.IsDebug() {
		s.log.Debug("request refused", "status", f.status, "code", f.code, "trace_id", id)
	}
}
