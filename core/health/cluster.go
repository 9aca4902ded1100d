package health

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

// probe is what became of asking one client's database.
type probe struct {
	Client    string   `json:"client"`
	Backend   string   `json:"backend"`
	Status    string   `json:"status"`     // online, offline, or the state of a client that was not asked
	Available bool     `json:"available"`  // whether requests reach it
	LatencyMS *float64 `json:"latency_ms"` // of the answer; null: there was none
	Error     string   `json:"error,omitempty"`
}

const (
	online  = "online"
	offline = "offline"
)

// cluster asks every client's database. The status is 503 only when there are clients to ask
// and none of them answers: one dead database must not take the gateway out of service.
func (a *API) cluster(r *httpx.Request) (*httpx.Response, error) {
	probes, err := a.probe(r.Context())
	if err != nil {
		return nil, err
	}
	type summary struct {
		Total   int `json:"total"`
		Online  int `json:"online"`
		Offline int `json:"offline"`
		Paused  int `json:"paused"`
	}
	body := struct {
		product
		Summary summary `json:"summary"`
		Clients []probe `json:"clients,omitzero"`
		Mirrors []any   `json:"mirrors"` // the original's peers; always empty
	}{product: a.product("ok"), Summary: summary{Total: len(probes)}, Mirrors: []any{}}
	for _, p := range probes {
		switch p.Status {
		case online:
			body.Summary.Online++
		case offline:
			body.Summary.Offline++
		default:
			body.Summary.Paused++
		}
	}
	if a.reveals(r) {
		body.Clients = append([]probe{}, probes...)
	}
	status := 200
	switch {
	case body.Summary.Offline == 0:
	case body.Summary.Online > 0:
		body.Status, body.Message = "degraded", "some clients do not answer"
	default:
		status, body.Status, body.Message = 503, "error", "no client answers"
	}
	return withStatus(status, body)
}

// probe asks all databases at once, for everybody who wants to know it meanwhile: an open
// route must not multiply what it is sent.
func (a *API) probe(ctx context.Context) ([]probe, error) {
	run := a.probing.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), a.options.PingTimeout)
		defer cancel()
		return a.probeAll(ctx), nil
	})
	select {
	case result := <-run:
		return result.Val.([]probe), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (a *API) probeAll(ctx context.Context) []probe {
	clients := a.options.Clients()
	probes := make([]probe, len(clients))
	var asked sync.WaitGroup
	for i, client := range clients {
		p := &probes[i]
		*p = probe{Client: client.Name, Backend: client.Backend, Status: client.State, Available: client.State == Available}
		if client.State != Available && client.State != Unavailable {
			continue
		}
		asked.Go(func() {
			started := time.Now()
			err := a.options.Ping(ctx, client.Name)
			switch {
			case err == nil:
				latency := float64(time.Since(started).Microseconds()) / 1000
				p.Status, p.LatencyMS = online, &latency
			case ctx.Err() != nil:
				p.Status, p.Error = offline, fmt.Sprintf("no answer within %s", a.options.PingTimeout)
			default:
				p.Status, p.Error = offline, sdk.AsError(err).Message
			}
		})
	}
	asked.Wait()
	return probes
}
