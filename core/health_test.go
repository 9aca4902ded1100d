package core

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/sdk"
)

// TestPluginMetrics: what plugins tell wrongly does not spoil the scrape, and is told once.
func TestPluginMetrics(t *testing.T) {
	label := func(value string) []sdk.Pair { return []sdk.Pair{{Name: "state", Value: value}} }
	found := map[string]map[string][]sdk.Metric{
		"some-db": {
			"shop": {
				{Name: "connections", Help: "Connections.", Labels: label("used"), Value: 2},
				{Name: "connections", Help: "Connections.", Labels: label("idle"), Value: 1},
				{Name: "connections", Help: "Connections.", Labels: label("idle"), Value: 7},
				{Name: "connections", Help: "Other connections.", Labels: label("lost"), Value: 7},
				{Name: "connections", Help: "Connections.", Value: 7},
				{Name: "mine", Help: "It claims a label.", Labels: []sdk.Pair{{Name: "client", Value: "x"}}},
				{Name: "utf", Help: "It is not text.", Labels: label("\xff")},
				{Name: "two words", Help: "It is no name.", Value: 7},
				{Name: "label", Help: "It has no name for a label.", Labels: []sdk.Pair{{Name: "two words", Value: "x"}}},
				{Name: "reads_total", Help: "Reads.", Counter: true, Value: 9},
			},
			"stock": {{Name: "reads_total", Help: "Reads.", Value: 7}},
		},
		// Its names are those of some-db.
		"some": {"mail": {{Name: "db_reads_total", Help: "What was read.", Counter: true, Value: 8}, {Name: "db_writes_total", Help: "Writes.", Counter: true, Value: 6}}},
		// Its names are the gateway's own.
		"http":   {"web": {{Name: "requests_total", Help: "Requests.", Value: 7}, {Name: "request_duration_seconds_count", Help: "Requests.", Value: 7}}},
		"plugin": {"web": {{Name: "ready", Help: "1 when the plugin's process serves calls.", Value: 7}}},
	}
	var log bytes.Buffer
	collector := &pluginCollector{log: hclog.New(&hclog.LoggerOptions{Output: &log})}
	collector.found = func(context.Context) map[string]map[string][]sdk.Metric { return found }
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector)
	want := []string{"GAUGE athena_some_db_connections client=shop state=idle 1", "GAUGE athena_some_db_connections client=shop state=used 2",
		"COUNTER athena_some_db_reads_total client=mail 8", "COUNTER athena_some_db_writes_total client=mail 6"}
	for range 3 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, family := range families {
			for _, m := range family.Metric {
				line := fmt.Sprintf("%s %s", family.GetType(), family.GetName())
				for _, l := range m.Label {
					line += " " + l.GetName() + "=" + l.GetValue()
				}
				got = append(got, fmt.Sprintf("%s %v", line, m.GetGauge().GetValue()+m.GetCounter().GetValue()))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	for _, name := range []string{"athena_some_db_connections", "athena_some_db_mine", "athena_some_db_utf", "athena_some_db_two words", "athena_some_db_label",
		"athena_some_db_reads_total", "athena_http_requests_total", "athena_http_request_duration_seconds_count", "athena_plugin_ready"} {
		if n := strings.Count(log.String(), "metric="+name+" plugin=") + strings.Count(log.String(), fmt.Sprintf("metric=%q", name)); n != 1 {
			t.Errorf("%s is told %d times:\n%s", name, n, &log)
		}
	}
}

// TestOwnMetrics holds the gateway's own metrics to the names that plugins cannot have.
func TestOwnMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	gateway.NewMetrics(registry)
	registry.MustRegister(&stateCollector{})
	ledgertest.OpenWith(t, ledger.Options{URI: "sqlite://" + filepath.Join(t.TempDir(), "ledger.db"), Registry: registry})
	server, err := httpx.New(httpx.Options{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown(t.Context())
	described := make(chan *prometheus.Desc, 100)
	registry.Describe(described)
	close(described)
	n := 0
	for desc := range described {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(desc.String())[1]
		if n++; !isOwn(name) {
			t.Errorf("%s may be a plugin's", name)
		}
	}
	if n < 17 {
		t.Errorf("%d metrics are described", n)
	}
}

// TestReadyWithoutCatalogue: the catalogue of APIs, which only lists something, keeps nobody
// from serving.
func TestReadyWithoutCatalogue(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		l := ledgertest.Open(t, uri)
		if err := l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
			_, err := c.ExecContext(ctx, "ALTER TABLE api_registry RENAME TO elsewhere")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		s := shop(t, uri)
		for path, want := range map[string]int{"/ready": 200, "/health": 200, "/registry": 503} {
			if status, body := s.send(t, "GET", path, ""); status != want {
				t.Errorf("%s answers %d, want %d: %s", path, status, want, body)
			}
		}
	})
}
