// Command faulty is a plugin that speaks the protocol with nothing of the SDK but its
// handshake, as one in another language does. Its argument names what it does wrong; without
// one it does nothing wrong.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/pluginpb"
)

func main() {
	p := &plugin{instances: map[key]*instance{}}
	if len(os.Args) > 1 {
		p.fault = os.Args[1]
	}
	if fd, err := strconv.Atoi(os.Getenv(sdk.LifelineEnv)); err == nil && p.fault != "survives" {
		go func() {
			_, _ = os.NewFile(uintptr(fd), "lifeline").Read(make([]byte, 1))
			os.Exit(1)
		}()
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: sdk.Handshake,
		Plugins:         goplugin.PluginSet{"athena": p},
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}

// plugin has instances that answer every select with one row.
type plugin struct {
	goplugin.NetRPCUnsupportedPlugin
	pluginpb.UnimplementedPluginServer
	pluginpb.UnimplementedBackendServer

	fault string

	mu        sync.Mutex
	instances map[key]*instance
	described int
	opening   int
	draining  bool
	leaked    []*os.File
}

type key struct {
	name       string
	generation uint64
}

type instance struct {
	token string
	child *exec.Cmd
}

func (p *plugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginpb.RegisterPluginServer(s, p)
	pluginpb.RegisterBackendServer(s, p)
	return nil
}

func (p *plugin) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("not a gateway")
}

const schema = `{"type": "object", "additionalProperties": false, "required": ["path"],
	"properties": {"path": {"type": "string"}, "token": {"type": "string", "writeOnly": true}}}`

var capabilities = &pluginpb.Capabilities{Verbs: []pluginpb.Verb{pluginpb.Verb(sdk.Select)}, Operators: []string{string(sdk.Eq)}}

func (p *plugin) Describe(context.Context, *pluginpb.DescribeRequest) (*pluginpb.Manifest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.described++
	m := &pluginpb.Manifest{Name: "faulty", Version: "1.0.0", Sdk: sdk.ProtocolFeatures, Capabilities: capabilities, ConfigSchema: []byte(schema)}
	if p.fault == "changes its mind" {
		m.Version = fmt.Sprintf("1.0.%d", p.described)
	}
	return m, nil
}

func failure(kind sdk.Kind, reason, message string) *pluginpb.Error {
	return &pluginpb.Error{Kind: pluginpb.Kind(kind), Reason: reason, Message: message, Executed: pluginpb.Executed_EXECUTED_NO}
}

// readConfig is what the gateway's check of the schema would refuse too.
func (p *plugin) readConfig(raw []byte) (token string, refused *pluginpb.Error) {
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		return "", failure(sdk.Invalid, "invalid_config", "the config is no JSON object")
	}
	if config["path"] == nil && p.fault != "requires nothing" {
		return "", failure(sdk.Invalid, "invalid_config", "the config lacks path")
	}
	for name, value := range config {
		text, ok := value.(string)
		if !ok && p.fault == "trusts its config" {
			os.Exit(2)
		}
		if !ok || name != "path" && name != "token" {
			return "", failure(sdk.Invalid, "invalid_config", "the config's "+name+" is unknown, or no text")
		}
		if name == "token" {
			token = text
		}
	}
	return token, nil
}

func (p *plugin) OpenInstance(_ context.Context, r *pluginpb.OpenInstanceRequest) (*pluginpb.OpenInstanceResponse, error) {
	token, refused := p.readConfig(r.Config)
	if refused != nil {
		return &pluginpb.OpenInstanceResponse{Error: refused}, nil
	}
	i := &instance{token: token}
	if p.fault == "pauses for an open" {
		p.pause(1)
		time.Sleep(20 * time.Millisecond) // an open that takes its time
		p.pause(-1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.fault {
	case "prints":
		fmt.Println("an instance is open")
	case "logs its secret":
		fmt.Fprintln(os.Stderr, "opened with", token)
	case "leaks a descriptor":
		f, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		p.leaked = append(p.leaked, f) // or it were closed when it is collected
	case "leaves a child", "tells a child its secret":
		i.child = exec.Command("sleep", "60")
		if p.fault == "tells a child its secret" {
			i.child.Args[0] = token
		}
		if err := i.child.Start(); err != nil {
			return nil, err
		}
		if p.fault == "leaves a child" {
			_ = i.child.Process.Release() // else it would be a leaked descriptor too
		}
	}
	p.instances[key{r.Instance, r.Generation}] = i
	return &pluginpb.OpenInstanceResponse{Capabilities: capabilities}, nil
}

func (p *plugin) pause(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opening += n
}

func (p *plugin) CloseInstance(_ context.Context, r *pluginpb.CloseInstanceRequest) (*pluginpb.CloseInstanceResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := key{r.Instance, r.Generation}
	i := p.instances[k]
	delete(p.instances, k)
	if p.fault == "closes by generation" {
		for other := range p.instances {
			if other.generation == k.generation {
				delete(p.instances, other)
			}
		}
	}
	if i == nil && p.fault == "closes once" {
		return &pluginpb.CloseInstanceResponse{Error: failure(sdk.Invalid, "closed", "it is not open")}, nil
	}
	if i != nil && i.child != nil && p.fault != "leaves a child" {
		_ = i.child.Process.Kill()
		_ = i.child.Wait()
	}
	return &pluginpb.CloseInstanceResponse{}, nil
}

// find returns an instance, or what refuses a call of it.
func (p *plugin) find(name string, generation uint64) (*instance, *pluginpb.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.draining && p.fault != "ignores a drain":
		return nil, failure(sdk.Unavailable, "draining", "it is shutting down")
	case p.opening > 0:
		return nil, failure(sdk.Unavailable, "opening", "an instance is being opened")
	}
	for k, i := range p.instances {
		if (k.name == name || p.fault == "ignores names") && (k.generation == generation || p.fault == "ignores generations") {
			return i, nil
		}
	}
	return nil, failure(sdk.Unavailable, "unknown_instance", "it is not open")
}

func (p *plugin) Ping(_ context.Context, r *pluginpb.PingRequest) (*pluginpb.PingResponse, error) {
	_, refused := p.find(r.Instance, r.Generation)
	return &pluginpb.PingResponse{Error: refused}, nil
}

func (p *plugin) Session(stream grpc.BidiStreamingServer[pluginpb.CallOrPart, pluginpb.Chunk]) error {
	for {
		message, err := stream.Recv()
		if err != nil {
			return nil // the gateway let the session go
		}
		if err := stream.Send(p.answer(message.GetCall())); err != nil {
			return err
		}
	}
}

func (p *plugin) answer(call *pluginpb.Call) *pluginpb.Chunk {
	i, refused := p.find(call.Instance, call.Generation)
	if refused == nil {
		refused = p.refuse(call, i)
	}
	if refused != nil {
		return &pluginpb.Chunk{Error: refused, Last: true}
	}
	return &pluginpb.Chunk{
		Head: &pluginpb.Head{Columns: []*pluginpb.ColumnInfo{{Name: "a"}}}, Body: []byte(`[{"a":1}]`),
		Tail: &pluginpb.Tail{Rows: 1, Statements: 1}, Last: true,
	}
}

func (p *plugin) refuse(call *pluginpb.Call, i *instance) *pluginpb.Error {
	switch {
	case call.Deadline != 0 && time.Now().UnixNano() > call.Deadline && p.fault != "ignores deadlines":
		return failure(sdk.Timeout, "deadline_exceeded", "the deadline has passed")
	case len(call.Statements) == 0 && p.fault != "answers nothing":
		return failure(sdk.Invalid, "no_statement", "the call has no statement")
	}
	for _, s := range call.Statements {
		if s.Verb != pluginpb.Verb(sdk.Select) && p.fault != "does any verb" {
			return failure(sdk.Unsupported, "unsupported", "it can only select")
		}
		if !supported(s.Filter) && p.fault != "knows any operator" {
			return failure(sdk.Unsupported, "unsupported", "it knows only eq")
		}
	}
	if p.fault == "shows its secret" {
		return failure(sdk.Unavailable, "connect_failed", "cannot log in with "+i.token)
	}
	return nil
}

func supported(f *pluginpb.Filter) bool {
	if f == nil {
		return true
	}
	if f.Kind == pluginpb.FilterKind_FILTER_COMPARE {
		return f.Operator == string(sdk.Eq)
	}
	return !slices.ContainsFunc(f.Children, func(child *pluginpb.Filter) bool { return !supported(child) })
}

func (p *plugin) Cancel(_ context.Context, r *pluginpb.CancelRequest) (*pluginpb.CancelResponse, error) {
	if p.fault == "cancels only calls" {
		return nil, status.Errorf(codes.NotFound, "there is no call %d", r.Id)
	}
	return &pluginpb.CancelResponse{}, nil
}

func (p *plugin) Watch(_ *pluginpb.WatchRequest, stream grpc.ServerStreamingServer[pluginpb.Heartbeat]) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if p.fault != "sends no heartbeat" && (n == 0 || p.fault != "sends one heartbeat") {
			if err := stream.Send(&pluginpb.Heartbeat{}); err != nil {
				return err
			}
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (p *plugin) Drain(ctx context.Context, _ *pluginpb.DrainRequest) (*pluginpb.DrainResponse, error) {
	if p.fault == "never drains" {
		<-ctx.Done()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
	return &pluginpb.DrainResponse{}, nil
}

func (p *plugin) CollectMetrics(context.Context, *pluginpb.CollectMetricsRequest) (*pluginpb.CollectMetricsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &pluginpb.CollectMetricsResponse{}
	for k, i := range p.instances {
		m := &pluginpb.Metric{Instance: k.name, Generation: k.generation, Name: "open", Help: "Whether it is open.", Value: 1}
		switch p.fault {
		case "counts its secret":
			m.Labels = []*pluginpb.Pair{{Name: "user", Value: i.token}}
		case "misnames a counter":
			m.Counter = true
		}
		r.Metrics = append(r.Metrics, m)
	}
	return r, nil
}

func (p *plugin) SetLogLevel(_ context.Context, r *pluginpb.SetLogLevelRequest) (*pluginpb.SetLogLevelResponse, error) {
	if p.fault == "knows no trace" && r.Level == "trace" {
		return nil, status.Error(codes.InvalidArgument, "there is no such level")
	}
	return &pluginpb.SetLogLevelResponse{}, nil
}
