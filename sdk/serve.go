package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/athena-gateway/athena/sdk/pluginpb"
)

// Serve runs the plugin until the gateway ends it. It is the whole main of a plugin.
// What the plugin logs through hclog's default logger reaches the gateway's log, secrets
// of opened configs removed. Started by hand as `plugin --dev DIR` it serves the gateway of
// that plugin directory, which attaches to it instead of starting its file.
func Serve(p Plugin) {
	if p.Backend == nil {
		fmt.Fprintln(os.Stderr, "sdk.Serve: the plugin has no Backend: make one with sdk.NewBackend")
		os.Exit(1)
	}
	s := newServer(p)
	dev := len(os.Args) == 3 && os.Args[1] == devFlag
	logger := hclog.New(&hclog.LoggerOptions{
		Name: p.Name, Level: hclog.Debug, JSONFormat: !dev,
		Output: &redactingWriter{w: os.Stderr, secrets: &s.secrets},
	})
	hclog.SetDefault(logger)
	if dev {
		if err := serveDev(s, p.Name, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "sdk.Serve:", err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	watchLifeline()
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: Handshake,
		Plugins:         goplugin.PluginSet{pluginName: &grpcPlugin{server: s}},
		Logger:          logger,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(serverOptions(), opts...)...)
		},
	})
}

// gcPercent lets the heap grow to five times what lives before it is collected. A plugin
// holds little and allocates per call: by Go's default it would collect dozens of times a
// second to keep a few megabytes.
const gcPercent = 400

// watchLifeline ends the process when the gateway dies, however it dies.
func watchLifeline() {
	fd, err := strconv.Atoi(os.Getenv(LifelineEnv))
	if err != nil {
		return // started by hand, under a debugger
	}
	pipe := os.NewFile(uintptr(fd), "lifeline")
	go func() {
		_, _ = pipe.Read(make([]byte, 1))
		os.Exit(1)
	}()
}

// InProcess serves p in this process over an in-memory connection: the same code and the
// same bytes as between processes. The function returned ends it.
func InProcess(p Plugin) (*Remote, func(), error) {
	if p.Backend == nil {
		return nil, nil, errors.New("the plugin has no Backend: make one with sdk.NewBackend")
	}
	s := newServer(p)
	grpcServer := grpc.NewServer(serverOptions()...)
	s.register(grpcServer)
	listener := bufconn.Listen(64 << 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = grpcServer.Serve(listener)
	}()
	conn, err := grpc.NewClient("passthrough:memory", append(DialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		grpcServer.Stop()
		return nil, nil, err
	}
	remote := NewRemote(conn)
	return remote, func() {
		_ = remote.Close()
		grpcServer.Stop()
		<-done
		s.closeAll()
	}, nil
}

// server is the plugin's half of the protocol.
type server struct {
	pluginpb.UnimplementedPluginServer
	pluginpb.UnimplementedBackendServer

	plugin  Plugin
	secrets secretSet

	mu        sync.Mutex
	instances map[instanceKey]*openInstance
	calls     map[uint64]context.CancelCauseFunc // under way
	early     map[uint64]struct{}                // cancelled before they came
	watchers  int                                // gateways that watch
	alone     chan struct{}                      // closed when watchers is 0; nil: nobody waits for that
	draining  bool
	idle      chan struct{} // closed when draining and no call is under way
}

type instanceKey struct {
	name       string
	generation uint64
}

// openInstance is an instance with the calls that use it.
type openInstance struct {
	Instance
	capabilities Capabilities
	calls        sync.WaitGroup
}

func newServer(p Plugin) *server {
	return &server{
		plugin:    p,
		instances: map[instanceKey]*openInstance{},
		calls:     map[uint64]context.CancelCauseFunc{},
		early:     map[uint64]struct{}{},
		idle:      make(chan struct{}),
	}
}

func (s *server) register(g *grpc.Server) {
	pluginpb.RegisterPluginServer(g, s)
	pluginpb.RegisterBackendServer(g, s)
}

func (s *server) closeAll() {
	s.mu.Lock()
	instances := s.instances
	s.instances = map[instanceKey]*openInstance{}
	s.mu.Unlock()
	for _, o := range instances {
		o.calls.Wait()
		_ = closeSafely(o)
	}
}

// Describe, OpenInstance, CloseInstance, Watch, CollectMetrics, Drain, SetLogLevel, Session,
// Cancel and Ping are the services of plugin.proto.
func (s *server) Describe(context.Context, *pluginpb.DescribeRequest) (*pluginpb.Manifest, error) {
	return &pluginpb.Manifest{
		Name: s.plugin.Name, Version: s.plugin.Version, Sdk: ProtocolFeatures,
		Capabilities: s.plugin.Backend.capabilities.toProto(),
		ConfigSchema: s.plugin.Backend.schema,
	}, nil
}

func (s *server) OpenInstance(ctx context.Context, r *pluginpb.OpenInstanceRequest) (*pluginpb.OpenInstanceResponse, error) {
	backend := s.plugin.Backend
	s.secrets.add(r.Config, backend.secrets)
	instance, err := openSafely(ctx, backend, r.Config)
	if err != nil {
		return &pluginpb.OpenInstanceResponse{Error: s.redact(AsError(err)).toProto()}, nil
	}
	if err := ctx.Err(); err != nil { // nobody will ever ask for it
		_ = closeSafely(instance)
		return nil, err
	}
	o := &openInstance{Instance: instance, capabilities: backend.capabilities}
	key := instanceKey{r.Instance, r.Generation}
	s.mu.Lock()
	old := s.instances[key]
	s.instances[key] = o
	s.mu.Unlock()
	if old != nil {
		go func() { old.calls.Wait(); _ = closeSafely(old) }()
	}
	return &pluginpb.OpenInstanceResponse{Capabilities: o.capabilities.toProto()}, nil
}

func openSafely(ctx context.Context, b *Backend, config []byte) (instance Instance, err error) {
	defer recoverTo(&err)
	return b.open(ctx, config)
}

func closeSafely(i Instance) (err error) {
	defer recoverTo(&err)
	return i.Close()
}

// recoverTo turns a panic of the author's code into an error of one call.
func recoverTo(err *error) {
	if p := recover(); p != nil {
		*err = &Error{Kind: Internal, Reason: "panic", Log: fmt.Sprintf("panic: %v\n%s", p, debug.Stack())}
		hclog.Default().Error("panic in a plugin call", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

func (s *server) CloseInstance(_ context.Context, r *pluginpb.CloseInstanceRequest) (*pluginpb.CloseInstanceResponse, error) {
	key := instanceKey{r.Instance, r.Generation}
	s.mu.Lock()
	o := s.instances[key]
	delete(s.instances, key)
	s.mu.Unlock()
	if o == nil {
		return &pluginpb.CloseInstanceResponse{}, nil
	}
	o.calls.Wait()
	if err := closeSafely(o); err != nil {
		return &pluginpb.CloseInstanceResponse{Error: s.redact(AsError(err)).toProto()}, nil
	}
	return &pluginpb.CloseInstanceResponse{}, nil
}

// left is closed when no gateway watches.
func (s *server) left() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	alone := make(chan struct{})
	if s.watchers == 0 {
		close(alone)
	} else {
		s.alone = alone
	}
	return alone
}

func (s *server) watched(by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers += by
	if s.watchers == 0 && s.alone != nil {
		close(s.alone)
		s.alone = nil
	}
}

func (s *server) Watch(_ *pluginpb.WatchRequest, stream grpc.ServerStreamingServer[pluginpb.Heartbeat]) error {
	s.watched(1)
	defer s.watched(-1)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		s.mu.Lock()
		calls := len(s.calls)
		s.mu.Unlock()
		if err := stream.Send(&pluginpb.Heartbeat{Calls: uint64(calls)}); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s *server) CollectMetrics(context.Context, *pluginpb.CollectMetricsRequest) (*pluginpb.CollectMetricsResponse, error) {
	s.mu.Lock()
	open := maps.Clone(s.instances)
	for _, o := range open {
		o.calls.Add(1) // not to be closed meanwhile
	}
	s.mu.Unlock()
	response := &pluginpb.CollectMetricsResponse{}
	for key, o := range open {
		response.Metrics = append(response.Metrics, o.metrics(key)...)
		o.calls.Done()
	}
	return response, nil
}

// metrics are the instance's own, none if it panics.
func (o *openInstance) metrics(key instanceKey) (list []*pluginpb.Metric) {
	meter, ok := o.Instance.(Meter)
	if !ok {
		return nil
	}
	var panicked error
	defer recoverTo(&panicked)
	for _, m := range meter.Metrics() {
		p := &pluginpb.Metric{Instance: key.name, Generation: key.generation, Name: m.Name, Help: m.Help, Counter: m.Counter, Value: m.Value}
		for _, label := range m.Labels {
			p.Labels = append(p.Labels, &pluginpb.Pair{Name: label.Name, Value: label.Value})
		}
		list = append(list, p)
	}
	return list
}

func (s *server) Drain(ctx context.Context, _ *pluginpb.DrainRequest) (*pluginpb.DrainResponse, error) {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		if len(s.calls) == 0 {
			close(s.idle)
		}
	}
	s.mu.Unlock()
	select {
	case <-s.idle:
		return &pluginpb.DrainResponse{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *server) SetLogLevel(_ context.Context, r *pluginpb.SetLogLevelRequest) (*pluginpb.SetLogLevelResponse, error) {
	level := hclog.LevelFromString(r.Level)
	if level == hclog.NoLevel {
		return nil, status.Errorf(codes.InvalidArgument, "unknown log level %q", r.Level)
	}
	hclog.Default().SetLevel(level)
	return &pluginpb.SetLogLevelResponse{}, nil
}

func (s *server) Cancel(_ context.Context, r *pluginpb.CancelRequest) (*pluginpb.CancelResponse, error) {
	s.mu.Lock()
	cancel := s.calls[r.Id]
	if cancel == nil {
		if len(s.early) >= maxEarly { // of calls that had ended already
			clear(s.early)
		}
		s.early[r.Id] = struct{}{}
	}
	s.mu.Unlock()
	if cancel != nil {
		cancel(context.Canceled)
	}
	return &pluginpb.CancelResponse{}, nil
}

// maxEarly bounds how many cancellations are remembered whose call has not come: they
// travel on another stream and may overtake it.
const maxEarly = 1024

func (s *server) Ping(ctx context.Context, r *pluginpb.PingRequest) (*pluginpb.PingResponse, error) {
	s.mu.Lock()
	o := s.instances[instanceKey{r.Instance, r.Generation}]
	if o != nil {
		o.calls.Add(1)
	}
	s.mu.Unlock()
	if o == nil {
		return &pluginpb.PingResponse{Error: errUnknownInstance().toProto()}, nil
	}
	defer o.calls.Done()
	pinger, ok := o.Instance.(Pinger)
	if !ok {
		return &pluginpb.PingResponse{}, nil // it is open: all that can be known
	}
	err := func() (err error) {
		defer recoverTo(&err)
		return pinger.Ping(ctx)
	}()
	if err != nil {
		return &pluginpb.PingResponse{Error: s.redact(AsError(err)).toProto()}, nil
	}
	return &pluginpb.PingResponse{}, nil
}

func errUnknownInstance() *Error {
	return E(Unavailable, "unknown_instance", "the plugin has no such instance")
}

// begin admits a call: it finds the instance and registers the call for Cancel and Drain.
func (s *server) begin(call *Call, cancel context.CancelCauseFunc) (*openInstance, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, E(Unavailable, "draining", "the plugin is shutting down")
	}
	o := s.instances[instanceKey{call.Instance, call.Generation}]
	if o == nil {
		return nil, errUnknownInstance()
	}
	o.calls.Add(1)
	s.calls[call.ID] = cancel
	if _, ok := s.early[call.ID]; ok {
		delete(s.early, call.ID)
		cancel(context.Canceled)
	}
	return o, nil
}

func (s *server) end(call *Call, o *openInstance) {
	s.mu.Lock()
	delete(s.calls, call.ID)
	if s.draining && len(s.calls) == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	o.calls.Done()
}

// Session carries one call after another.
func (s *server) Session(stream grpc.BidiStreamingServer[pluginpb.CallOrPart, pluginpb.Chunk]) error {
	var now running
	stop := context.AfterFunc(stream.Context(), now.end)
	defer stop()
	calls := context.WithoutCancel(stream.Context())
	var message callMessage
	for {
		message = callMessage{}
		if err := stream.RecvMsg(&message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if message.call == nil {
			return errWire
		}
		if message.parts {
			if err := receiveParts(stream, message.call); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithCancelCause(calls)
		now.set(cancel)
		err := s.call(ctx, cancel, stream, message.call)
		now.set(nil)
		cancel(nil)
		if err != nil {
			return err
		}
	}
}

// running is the call that runs on a session, which ends with its stream. A child of the
// stream's context would end with it too, and would have to join it and leave it for each call.
type running struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc // nil: none runs
	ended  bool
}

func (r *running) set(cancel context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel = cancel
	if r.ended && cancel != nil {
		cancel(context.Canceled)
	}
}

func (r *running) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	if r.cancel != nil {
		r.cancel(context.Canceled)
	}
}

func receiveParts(stream grpc.ServerStream, call *Call) error {
	if len(call.Statements) == 0 {
		return errWire
	}
	rows := &call.Statements[len(call.Statements)-1].Rows
	for {
		var message callMessage
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		if rows.Payload == nil {
			rows.Payload = message.part
		} else {
			rows.Payload = append(rows.Payload, message.part...)
		}
		if message.last {
			return nil
		}
	}
}

// call runs one call, whose context is ctx, and sends its answer. Its error is the stream's.
func (s *server) call(ctx context.Context, cancel context.CancelCauseFunc, stream grpc.ServerStream, call *Call) error {
	instance, refused := s.begin(call, cancel)
	if refused != nil {
		return stream.SendMsg(&Chunk{Err: refused, last: true})
	}
	defer s.end(call, instance)
	if refused = instance.capabilities.check(call); refused != nil {
		return stream.SendMsg(&Chunk{Err: refused, last: true})
	}

	if !call.Deadline.IsZero() && !time.Now().Before(call.Deadline) { // nobody waits for it any more
		refused = E(Timeout, "deadline_exceeded", "the deadline passed before the call was executed")
		return stream.SendMsg(&Chunk{Err: refused, last: true})
	}

	var deadline *time.Timer
	if !call.Deadline.IsZero() {
		deadline = time.AfterFunc(time.Until(call.Deadline), func() { cancel(context.DeadlineExceeded) })
		defer deadline.Stop()
	}
	if timeout := call.Session.StatementTimeout; timeout > 0 {
		limit := time.AfterFunc(timeout, func() { cancel(context.DeadlineExceeded) })
		defer limit.Stop()
	}
	rows := NewRows(call.Result, func(c *Chunk) error {
		if deadline != nil && c.Head != nil {
			deadline.Stop() // it is for the head
		}
		return sendChunk(stream, c)
	})
	err := executeSafely(ctx, instance, call, rows)
	if errors.Is(err, ErrRowLimit) && (rows.write || rows.Head.Statement < len(call.Statements)-1) {
		err = errors.New("the instance ended the call with ErrRowLimit before it had committed, or before the last statement")
	}
	if err == nil || errors.Is(err, ErrRowLimit) {
		if err = rows.Release(); err == nil {
			err = rows.end()
		}
	}
	if err == nil {
		return nil
	}
	rows.discard()
	if rows.err != nil {
		return rows.err // the stream is broken
	}
	e := *AsError(err)
	e.Statement = rows.Head.Statement
	if e.Kind == Canceled && context.Cause(ctx) == context.DeadlineExceeded {
		e.Kind, e.Reason, e.Message = Timeout, "deadline_exceeded", "the deadline passed before the answer"
	}
	return stream.SendMsg(&Chunk{Statement: e.Statement, Err: s.redact(&e), last: true})
}

func executeSafely(ctx context.Context, instance Instance, call *Call, rows *Rows) (err error) {
	defer recoverTo(&err)
	return instance.Execute(ctx, call, rows)
}

// maxBody is the longest body of one message; a row may be longer.
const maxBody = 4 << 20

func sendChunk(stream grpc.ServerStream, c *Chunk) error {
	for len(c.Body) > maxBody {
		first := &Chunk{Statement: c.Statement, Head: c.Head, Body: c.Body[:maxBody:maxBody]}
		if err := stream.SendMsg(first); err != nil {
			return err
		}
		rest := c.Body[maxBody:]
		if len(rest) <= maxBody { // the last part may be pooled, and must not pin the others
			rest = bytes.Clone(rest)
		}
		c = &Chunk{Statement: c.Statement, Tail: c.Tail, Body: rest, last: c.last}
	}
	return stream.SendMsg(c)
}
