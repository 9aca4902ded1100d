package httpx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/sdk"
)

// Options configure a Server. Zero durations and sizes take the default in brackets.
type Options struct {
	Routes   []Route
	Logger   hclog.Logger         // nil: none
	Registry *prometheus.Registry // nil: metrics are kept but not shown

	// Keys know who may ask. Nil: there are none, so the Admin routes and those with a Right
	// are closed, and the others open.
	Keys *auth.Keyring

	BodyLimit     int           // bytes of a request body [64 MiB - 1 MiB]
	HeaderTimeout time.Duration // for a request's head, and for a small body [10s]
	// AnyOrigin lets web pages of other sites, and requests for other host names, reach
	// routes that ask for no key.
	AnyOrigin bool
	// HostDomain is a domain in lower case whose names, one label below it, are the gateway's
	// own: see Request.HostLabel. "": it has none.
	HostDomain string

	IdleTimeout  time.Duration // between requests of a connection [120s]
	WriteTimeout time.Duration // without progress, not for the whole answer [30s]
}

// slowestUpload bounds the time for a request body: bytes per second below which a
// sender is dropped.
const slowestUpload = 64 << 10

// Server serves routes. Make it with New, Serve once, then Shutdown.
type Server struct {
	options Options
	log     hclog.Logger
	app     *fiber.App
	metrics *metrics
	other   *routeMetrics // requests that match no route
	watcher watcher
	conns   connSet

	listener atomic.Pointer[listener]
	start    sync.Mutex // held while Serve begins and while draining is set: who waits for connections counts on it
	draining atomic.Bool
	quit     chan struct{}
}

// mounted is a route in place.
type mounted struct {
	*Route
	params  []string
	metrics *routeMetrics
}

// New checks the routes and mounts each at its path and below /db, where one of the
// JavaScript clients looks for the database routes.
func New(o Options) (*Server, error) {
	if err := checkRoutes(o.Routes); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	defaultTo(&o.BodyLimit, 63<<20)
	defaultTo(&o.HeaderTimeout, 10*time.Second)
	defaultTo(&o.IdleTimeout, 120*time.Second)
	defaultTo(&o.WriteTimeout, 30*time.Second)
	if o.Keys == nil {
		o.Keys = auth.New(auth.Options{})
	}
	s := &Server{options: o, log: o.Logger, metrics: newMetrics(o.Registry), quit: make(chan struct{})}
	s.other = s.metrics.route("unmatched", "any")
	s.app = fiber.New(fiber.Config{
		DisableStartupMessage:        true,
		CaseSensitive:                true,
		DisablePreParseMultipartForm: true,
		RequestMethods:               methods,
		BodyLimit:                    o.BodyLimit,
		ReadTimeout:                  o.HeaderTimeout,
		IdleTimeout:                  o.IdleTimeout,
		ReadBufferSize:               16 << 10, // bounds the head
		WriteBufferSize:              16 << 10,
		ErrorHandler:                 s.refuse,
	})
	s.mount()
	s.tune(s.app.Server())
	return s, nil
}

func defaultTo[T int | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

func (s *Server) mount() {
	heads := map[string]bool{} // paths whose HEAD is a route of its own
	for i := range s.options.Routes {
		if s.options.Routes[i].Method == "HEAD" {
			heads[s.options.Routes[i].Path] = true
		}
	}
	for i := range s.options.Routes {
		route := &s.options.Routes[i]
		m := &mounted{Route: route, metrics: s.metrics.route(route.Path, route.Method)}
		handler := func(c *fiber.Ctx) error {
			s.serve(m, c)
			return nil
		}
		for _, prefix := range []string{"", "/db"} {
			s.app.Add(route.Method, prefix+route.Path, handler)
			if route.Method == "GET" && !heads[route.Path] {
				s.app.Add("HEAD", prefix+route.Path, handler)
			}
		}
		for segment := range strings.SplitSeq(route.Path, "/") {
			if name, ok := strings.CutPrefix(segment, ":"); ok {
				m.params = append(m.params, strings.TrimRight(name, "?"))
			} else if segment == "*" {
				m.params = append(m.params, "*")
			}
		}
	}
}

// tune sets what Fiber does not expose.
func (s *Server) tune(server *fasthttp.Server) {
	server.HeaderReceived = func(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
		size := h.ContentLength()
		if size < 0 { // chunked
			size = s.options.BodyLimit
		}
		if size < slowestUpload {
			return fasthttp.RequestConfig{}
		}
		return fasthttp.RequestConfig{ReadTimeout: s.options.HeaderTimeout + time.Duration(size/slowestUpload)*time.Second}
	}
	server.ConnState = func(nc net.Conn, state fasthttp.ConnState) {
		if c, ok := nc.(*conn); ok {
			switch state {
			case fasthttp.StateActive: // also when the request had been read ahead
				c.begun = true
			case fasthttp.StateIdle:
				c.begun = false
			}
		}
	}
	routed := s.app.Handler()
	server.Handler = func(fctx *fasthttp.RequestCtx) {
		for _, method := range methods {
			if string(fctx.Method()) == method {
				routed(fctx)
				return
			}
		}
		s.answerError(fctx, fiber.ErrMethodNotAllowed) // Fiber would answer without the envelope
	}
}

// Serve answers requests from ln until Shutdown; then it returns nil while requests
// are still being finished.
func (s *Server) Serve(ln net.Listener) error {
	l := &listener{Listener: ln, server: s}
	s.start.Lock()
	if s.draining.Load() { // Shutdown came first
		s.start.Unlock()
		return ln.Close()
	}
	if !s.listener.CompareAndSwap(nil, l) {
		s.start.Unlock()
		return errors.New("the server has been started already")
	}
	s.conns.wg.Add(1)
	s.start.Unlock()
	defer s.conns.wg.Done()
	go s.watcher.run(s.quit)
	return s.app.Server().Serve(l)
}

// Shutdown drains the server: it takes no new connections, finishes every request that
// has arrived, answers with Connection: close and closes idle connections. When ctx ends
// first it cancels what is left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.start.Lock()
	again := s.draining.Swap(true)
	s.start.Unlock()
	if again {
		return errors.New("the server is being shut down already")
	}
	defer close(s.quit)
	if l := s.listener.Load(); l != nil {
		l.stop()
	}
	s.conns.each(func(c net.Conn) { c.SetReadDeadline(time.Now()) }) // wakes the idle ones
	done := make(chan struct{})
	go func() {
		s.conns.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.watcher.cancelAll(&sdk.Error{Kind: sdk.Unavailable, Reason: "shutting_down", Source: sdk.FromHost, Message: "the gateway is shutting down"})
	s.conns.each(func(c net.Conn) { c.Close() })
	select {
	case <-done:
	case <-time.After(time.Second): // a handler that does not heed its context
	}
	return ctx.Err()
}

// serve answers one request of a route.
func (s *Server) serve(m *mounted, c *fiber.Ctx) {
	fctx := c.Context()
	r := &Request{ID: requestID(fctx), Body: takeBody(fctx), fctx: fctx, server: s, route: m, params: takeParams(c, m.params), started: time.Now()}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	r.conn, _ = fctx.Conn().(*conn)
	s.metrics.begin()
	s.watcher.add(r)
	if err := s.answer(r); err != nil {
		s.fail(r, sdk.AsError(err))
	}
}

// answer asks the guard and the route and prepares the answer. A panic is an internal
// error with its stack in the log.
func (s *Server) answer(r *Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a handler panicked", "trace_id", r.ID, "route", r.route.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = &sdk.Error{Kind: sdk.Internal, Reason: "panic", Source: sdk.FromHost}
			if r.open != nil {
				r.open.Close(err)
			}
		}
	}()
	defer s.options.Keys.Record(&r.Attempt)
	if err := s.admit(r); err != nil {
		if r.route.Refused != nil {
			r.route.Refused(r, sdk.AsError(err))
		}
		return err
	}
	response, err := r.route.Handle(r)
	if err != nil {
		return err
	}
	if r.route.Guard == Own && !r.admitted {
		return fmt.Errorf("the handler of %s asks no guard", r.route.Path)
	}
	if response.Stream == nil {
		return s.sendBytes(r, response)
	}
	r.open = response.Stream
	return s.stream(r, response)
}

// admit decides whether the request reaches its route's handler.
func (s *Server) admit(r *Request) error {
	if encoding := r.fctx.Request.Header.Peek("Content-Encoding"); len(encoding) > 0 && string(encoding) != "identity" {
		return sdk.E(sdk.Invalid, "unsupported_content_encoding", "the request body is compressed").WithHint("send it as it is")
	}
	if r.route.Guard == Own {
		return nil
	}
	return s.guard(r, r.route.Guard)
}

// end closes the books of a request, once.
func (s *Server) end(r *Request, status, sent int) {
	if r.ended {
		return
	}
	r.ended = true
	s.watcher.remove(r)
	r.cancel(nil)
	took := time.Since(r.started)
	r.route.metrics.end(status, len(r.Body), sent, took)
	if s.log.IsDebug() {
		s.log.Debug("request", "method", r.Method(), "path", r.Place(), "status", status, "bytes", sent, "duration", took, "trace_id", r.ID)
	}
}
