package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/athena-gateway/athena/sdk/pluginpb"
)

// Remote is a plugin as its caller sees it: the other end of one or more gRPC
// connections. It keeps a pool of sessions, because making a gRPC stream costs several
// times what a small call costs. Its methods are safe for concurrent use; their errors
// are *Error.
type Remote struct {
	conns    []*grpc.ClientConn
	plugin   pluginpb.PluginClient
	backends []pluginpb.BackendClient
	nextID   atomic.Uint64
	nextConn atomic.Uint32
	clean    func(error) *Error // nil: errors are handed on as they came

	mu      sync.Mutex
	idle    []*session // last used last
	closed  bool
	calls   int           // under way, their answers not yet closed
	resting chan struct{} // closed when calls is 0; nil: nobody waits for that
}

const (
	idleSessions   = 4                // sessions kept however long they are idle
	sessionIdle    = 30 * time.Second // others are let go after this
	cancelGrace    = 2 * time.Second  // for the plugin to answer a cancelled call
	firstPartBytes = 32 << 10         // a payload above this follows the call in parts
	partBytes      = 1 << 20
)

// session is one stream; it carries one call at a time.
type session struct {
	stream grpc.ClientStream
	cancel context.CancelFunc
	used   time.Time
}

// NewRemote makes a Remote over connections that were dialled with DialOptions. Sessions
// are spread over them. Close closes the connections too.
func NewRemote(conns ...*grpc.ClientConn) *Remote {
	r := &Remote{conns: conns, plugin: pluginpb.NewPluginClient(conns[0])}
	for _, conn := range conns {
		r.backends = append(r.backends, pluginpb.NewBackendClient(conn))
	}
	r.nextID.Store(rand.Uint64() >> 1) // call ids of two Remotes must not meet
	return r
}

// CleanErrors lets clean replace each error that the plugin answers before a caller sees it,
// such as by one without secrets. It is to be set before the first call.
func (r *Remote) CleanErrors(clean func(error) *Error) { r.clean = clean }

// answered is an error that the plugin answered.
func (r *Remote) answered(e *Error) *Error {
	if r.clean == nil {
		return e
	}
	return r.clean(e)
}

// Close ends all sessions, running calls included, and the connections.
func (r *Remote) Close() error {
	r.mu.Lock()
	r.closed = true
	idle := r.idle
	r.idle = nil
	r.mu.Unlock()
	for _, s := range idle {
		s.cancel()
	}
	var errs []error
	for _, conn := range r.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// Describe asks what the plugin is and can do.
func (r *Remote) Describe(ctx context.Context) (*Manifest, error) {
	m, err := r.plugin.Describe(ctx, &pluginpb.DescribeRequest{})
	if err != nil {
		return nil, lost(ctx, err, ExecutedNo)
	}
	return &Manifest{
		Name: m.Name, Version: m.Version, SDK: m.Sdk,
		Capabilities: capabilitiesFromProto(m.Capabilities), ConfigSchema: m.ConfigSchema,
	}, nil
}

// OpenInstance opens a client under a name and a generation and returns what it can do.
func (r *Remote) OpenInstance(ctx context.Context, instance string, generation uint64, config json.RawMessage) (*Capabilities, error) {
	response, err := r.plugin.OpenInstance(ctx, &pluginpb.OpenInstanceRequest{Instance: instance, Generation: generation, Config: config})
	if err != nil {
		return nil, lost(ctx, err, ExecutedUnknown)
	}
	if response.Error != nil {
		return nil, r.answered(errorFromProto(response.Error))
	}
	capabilities := capabilitiesFromProto(response.Capabilities)
	return &capabilities, nil
}

// CloseInstance lets the instance's running calls end and closes it.
func (r *Remote) CloseInstance(ctx context.Context, instance string, generation uint64) error {
	response, err := r.plugin.CloseInstance(ctx, &pluginpb.CloseInstanceRequest{Instance: instance, Generation: generation})
	if err != nil {
		return lost(ctx, err, ExecutedUnknown)
	}
	if response.Error != nil {
		return r.answered(errorFromProto(response.Error))
	}
	return nil
}

// Ping asks the instance's database for a sign of life.
func (r *Remote) Ping(ctx context.Context, instance string, generation uint64) error {
	response, err := r.backends[0].Ping(ctx, &pluginpb.PingRequest{Instance: instance, Generation: generation})
	if err != nil {
		return lost(ctx, err, ExecutedNo)
	}
	if response.Error != nil {
		return r.answered(errorFromProto(response.Error))
	}
	return nil
}

// Metrics asks for the numbers of all instances, by their names.
func (r *Remote) Metrics(ctx context.Context) (map[string][]Metric, error) {
	response, err := r.plugin.CollectMetrics(ctx, &pluginpb.CollectMetricsRequest{})
	if status.Code(err) == codes.Unimplemented { // another language's plugin need not have any
		return nil, nil
	}
	if err != nil {
		return nil, lost(ctx, err, ExecutedNo)
	}
	newest := map[string]uint64{} // of an instance that is being replaced both are open
	for _, p := range response.Metrics {
		newest[p.Instance] = max(newest[p.Instance], p.Generation)
	}
	metrics := map[string][]Metric{}
	for _, p := range response.Metrics {
		if p.Generation != newest[p.Instance] {
			continue
		}
		m := Metric{Name: p.Name, Help: p.Help, Counter: p.Counter, Value: p.Value}
		for _, label := range p.Labels {
			m.Labels = append(m.Labels, Pair{Name: label.Name, Value: label.Value})
		}
		metrics[p.Instance] = append(metrics[p.Instance], m)
	}
	return metrics, nil
}

// Watch blocks until the plugin is gone or ctx ends, and says which. It calls beat for each
// heartbeat.
func (r *Remote) Watch(ctx context.Context, beat func()) error {
	stream, err := r.plugin.Watch(ctx, &pluginpb.WatchRequest{})
	for err == nil {
		if _, err = stream.Recv(); err == nil {
			beat()
		}
	}
	return lost(ctx, err, ExecutedUnknown)
}

// Cancel asks the plugin to stop the call with this id (Call.ID), if it has one. The end
// of a call's context does so too.
func (r *Remote) Cancel(ctx context.Context, id uint64) error {
	if _, err := r.backends[0].Cancel(ctx, &pluginpb.CancelRequest{Id: id}); err != nil {
		return lost(ctx, err, ExecutedUnknown)
	}
	return nil
}

// Drain asks the plugin to refuse new calls and waits until the running ones have ended
// and their answers are closed.
func (r *Remote) Drain(ctx context.Context) error {
	if _, err := r.plugin.Drain(ctx, &pluginpb.DrainRequest{}); err != nil {
		return lost(ctx, err, ExecutedUnknown)
	}
	return r.Rest(ctx)
}

// Rest waits until no call is under way.
func (r *Remote) Rest(ctx context.Context) error {
	r.mu.Lock()
	if r.calls > 0 && r.resting == nil {
		r.resting = make(chan struct{})
	}
	resting := r.resting
	r.mu.Unlock()
	if resting == nil {
		return nil
	}
	select {
	case <-resting:
		return nil
	case <-ctx.Done():
		return lost(ctx, ctx.Err(), ExecutedUnknown)
	}
}

// Calls is how many calls are under way: sent, and their answers not yet closed.
func (r *Remote) Calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// SetLogLevel tells the plugin what is worth logging. A plugin that cannot be told is none
// the worse: it logs what it did.
func (r *Remote) SetLogLevel(ctx context.Context, level string) error {
	_, err := r.plugin.SetLogLevel(ctx, &pluginpb.SetLogLevelRequest{Level: level})
	if err != nil && status.Code(err) != codes.Unimplemented {
		return lost(ctx, err, ExecutedNo)
	}
	return nil
}

// lost classifies a gRPC error: the caller gave up, the plugin is gone, or it does not
// speak the protocol.
func lost(ctx context.Context, err error, executed Executed) *Error {
	if cause := context.Cause(ctx); cause != nil {
		e := *AsError(cause)
		e.Executed = executed
		return &e
	}
	e := &Error{Source: FromHost, Executed: executed, Log: err.Error()}
	switch code := status.Code(err); {
	case errors.Is(err, io.EOF), code == codes.Unavailable, code == codes.Canceled:
		e.Kind, e.Reason, e.Message = Unavailable, "plugin_lost", "the connection to the backend's plugin was lost"
	case code == codes.DeadlineExceeded: // the stream's reset came before the context's end
		e.Kind, e.Reason, e.Message = Timeout, "deadline_exceeded", "the deadline passed before the answer"
	case code == codes.ResourceExhausted:
		e.Kind, e.Reason, e.Message = Invalid, "message_too_large", "the request is larger than a plugin accepts"
	case code == codes.Unimplemented:
		e.Kind, e.Reason, e.Message = Unsupported, "unsupported", "the plugin does not offer this service"
	default:
		e.Kind, e.Reason = Internal, "protocol_error"
	}
	return e
}

// acquire takes an idle session or opens one, for a call that ends with release or discard.
func (r *Remote) acquire(call context.Context) (*session, error) {
	r.mu.Lock()
	r.calls++
	if n := len(r.idle); n > 0 {
		s := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return s, nil
	}
	closed := r.closed
	r.mu.Unlock()
	if closed {
		r.ended()
		return nil, status.Error(codes.Unavailable, "the connection is closed")
	}
	// A session outlives its calls: its context is its own.
	ctx, cancel := context.WithCancel(context.Background())
	backend := r.backends[int(r.nextConn.Add(1))%len(r.backends)]
	stop := context.AfterFunc(call, cancel) // while it is being opened, the call's end is its end
	stream, err := backend.Session(ctx)
	if !stop() && err == nil {
		err = context.Cause(call)
	}
	if err != nil {
		cancel()
		r.ended()
		return nil, err
	}
	return &session{stream: stream, cancel: cancel}, nil
}

// release gives a session back whose call has ended in order.
func (r *Remote) release(s *session) {
	s.used = time.Now()
	var old *session
	r.mu.Lock()
	r.countDown()
	closed := r.closed
	if !closed {
		r.idle = append(r.idle, s)
		if len(r.idle) > idleSessions && s.used.Sub(r.idle[0].used) > sessionIdle {
			old = r.idle[0]
			r.idle = append(r.idle[:0], r.idle[1:]...)
		}
	}
	r.mu.Unlock()
	if closed {
		s.cancel()
	}
	if old != nil {
		old.cancel()
	}
}

// discard ends a session together with its call.
func (r *Remote) discard(s *session) {
	s.cancel()
	r.ended()
}

// ended notes the end of a call.
func (r *Remote) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.countDown()
}

// countDown is ended with r.mu held.
func (r *Remote) countDown() {
	r.calls--
	if r.calls == 0 && r.resting != nil {
		close(r.resting)
		r.resting = nil
	}
}

// Execute sends call and returns when the head of its first answer is here. The caller
// has set Instance and Generation and must Close the Answer. When ctx ends, the call is
// cancelled, also after Execute has returned.
func (r *Remote) Execute(ctx context.Context, call *Call) (*Answer, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, lost(ctx, err, ExecutedNo)
	}
	s, err := r.acquire(ctx)
	if err != nil {
		return nil, lost(ctx, err, ExecutedNo)
	}
	call.ID = r.nextID.Add(1)
	a := &Answer{remote: r, session: s, ctx: ctx, id: call.ID}
	a.pieces = a.first[:0]
	if ctx.Done() != nil {
		a.stop = context.AfterFunc(ctx, a.cancel) // before send, which waits for a plugin that does not read
	}
	if err := send(s, call); err != nil {
		if errors.Is(err, io.EOF) { // the reason is the stream's status
			err = s.stream.RecvMsg(new(Chunk))
		}
		a.err = lost(ctx, err, ExecutedNo)
		a.Close()
		return nil, a.err
	}
	if err := a.receive(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func send(s *session, call *Call) error {
	var payload []byte
	if n := len(call.Statements); n > 0 {
		payload = call.Statements[n-1].Rows.Payload
	}
	parts := len(payload) > firstPartBytes
	if err := s.stream.SendMsg(&callMessage{call: call, parts: parts}); err != nil || !parts {
		return err
	}
	for {
		part := payload[:min(len(payload), partBytes)]
		payload = payload[len(part):]
		if err := s.stream.SendMsg(&callMessage{part: part, last: len(payload) == 0}); err != nil || len(payload) == 0 {
			return err
		}
	}
}

// Answer is what a call answers, read piece by piece by one goroutine. For each
// statement: Head, Next until io.EOF, Tail; then NextStatement.
type Answer struct {
	remote  *Remote
	session *session
	ctx     context.Context
	id      uint64
	stop    func() bool
	graceMu sync.Mutex
	grace   *time.Timer // runs while a cancelled call has not answered

	chunk  Chunk           // the last one received
	pieces mem.BufferSlice // received and not yet handed out
	first  [1]mem.Buffer   // room for the pieces of a small answer
	given  mem.Buffer      // handed out by the last Next
	head   *Head
	tail   *Tail
	err    error // sticky
	done   bool  // the last chunk is here: the session is free
}

// Head is the current statement's head.
func (a *Answer) Head() *Head { return a.head }

// Tail is the current statement's tail, once Next has returned io.EOF.
func (a *Answer) Tail() *Tail { return a.tail }

// Prefetch receives the current statement's body until it is complete or holds limit
// bytes. It reports whether it is complete.
func (a *Answer) Prefetch(limit int) (complete bool, err error) {
	size := a.Buffered()
	for a.tail == nil && size < limit {
		before := len(a.pieces)
		if err := a.receive(); err != nil {
			return false, err
		}
		size += a.pieces[before:].Len()
	}
	return a.tail != nil, nil
}

// Buffered is how many bytes of the current statement's body are received and not yet
// handed out.
func (a *Answer) Buffered() int { return a.pieces.Len() }

// Next returns the next piece of the current statement's body, valid until the following
// call; io.EOF after the last one.
func (a *Answer) Next() ([]byte, error) {
	if a.given != nil {
		a.given.Free()
		a.given = nil
	}
	for len(a.pieces) == 0 {
		if a.tail != nil {
			return nil, io.EOF
		}
		if err := a.receive(); err != nil {
			return nil, err
		}
	}
	a.given = a.pieces[0]
	a.pieces = a.pieces[1:]
	return a.given.ReadOnlyData(), nil
}

// NextStatement goes on to the next statement's answer, after io.EOF. It is false when
// there is none.
func (a *Answer) NextStatement() (bool, error) {
	if a.tail == nil || a.done {
		return false, nil
	}
	a.head, a.tail = nil, nil
	if err := a.receive(); err != nil {
		return false, err
	}
	return true, nil
}

// receive waits for the next chunk.
func (a *Answer) receive() error {
	if a.err != nil {
		return a.err
	}
	c := &a.chunk
	*c = Chunk{}
	if err := a.session.stream.RecvMsg(c); err != nil {
		a.err = lost(a.ctx, err, ExecutedUnknown)
		return a.err
	}
	a.done = c.last
	if c.Head != nil {
		a.head = c.Head
	}
	a.tail = c.Tail
	switch {
	case len(c.pieces) > 0 && len(a.pieces) == 0:
		a.pieces = c.pieces
	case len(c.pieces) > 0:
		a.pieces = append(a.pieces, c.pieces...)
	case len(c.Body) > 0:
		a.pieces = append(a.pieces, mem.SliceBuffer(c.Body))
	}
	if e := c.Err; e != nil {
		a.done = true
		if cause := context.Cause(a.ctx); cause != nil && e.Kind == Canceled {
			why := AsError(cause)
			e.Kind, e.Reason, e.Message = why.Kind, why.Reason, why.Message
		}
		a.err = a.remote.answered(e)
		return a.err
	}
	return nil
}

func (a *Answer) free() {
	if a.given != nil {
		a.given.Free()
		a.given = nil
	}
	a.pieces.Free()
	a.pieces = nil
}

// cancel asks the plugin to stop the call, and ends the session if it does not answer.
func (a *Answer) cancel() {
	a.graceMu.Lock()
	if a.grace == nil {
		a.grace = time.AfterFunc(cancelGrace, a.session.cancel)
	}
	a.graceMu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
	defer cancel()
	_ = a.remote.Cancel(ctx, a.id)
}

// stopGrace is true when the session was not cut.
func (a *Answer) stopGrace() bool {
	a.graceMu.Lock()
	defer a.graceMu.Unlock()
	return a.grace == nil || a.grace.Stop()
}

// Close ends the answer. One that was not read to its end is cancelled. Exactly once.
func (a *Answer) Close() {
	cancelled := a.stop != nil && !a.stop() // then the session may be about to be cut
	a.free()
	switch {
	case a.done && !cancelled:
		a.remote.release(a.session)
	case a.done || a.err != nil:
		a.stopGrace()
		a.remote.discard(a.session)
	default:
		go a.abandon()
	}
}

// abandon cancels the call and reads what is left of it, so that its session can serve
// another.
func (a *Answer) abandon() {
	a.cancel()
	for !a.done && a.receive() == nil {
		a.free()
	}
	a.free()
	if a.stopGrace() && a.done {
		a.remote.release(a.session)
		return
	}
	a.remote.discard(a.session)
}
