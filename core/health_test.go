package core

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/sdk"
)

// told is a collector of what plugins have told.
type told map[string]map[string][]sdk.Metric

func (told) Describe(chan<- *prometheus.Desc)      {}
func (t told) Collect(ch chan<- prometheus.Metric) { showMetrics(t, ch) }

// TestPluginMetrics: what a plugin tells wrongly does not spoil the scrape.
func TestPluginMetrics(t *testing.T) {
	label := func(value string) []sdk.Pair { return []sdk.Pair{{Name: "state", Value: value}} }
	metrics := told{"some-db": {"shop": {
		{Name: "connections", Help: "Connections.", Labels: label("used"), Value: 2},
		{Name: "connections", Help: "Connections.", Labels: label("idle"), Value: 1},
		{Name: "connections", Help: "Connections.", Labels: label("idle"), Value: 7},
		{Name: "connections", Help: "Other connections.", Labels: label("lost"), Value: 7},
		{Name: "connections", Help: "Connections.", Value: 7},
		{Name: "mine", Help: "It claims a label.", Labels: []sdk.Pair{{Name: "client", Value: "x"}}},
		{Name: "utf", Help: "It is not text.", Labels: label("\xff")},
		{Name: "reads_total", Help: "Reads.", Counter: true, Value: 9},
	}}}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics)
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
	if want := []string{"GAUGE athena_some_db_connections client=shop state=idle 1", "GAUGE athena_some_db_connections client=shop state=used 2",
		"COUNTER athena_some_db_reads_total client=shop 9"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
