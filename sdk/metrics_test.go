package sdk

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
)

// gauge is a backend whose instances tell a number; one called panic panics.
type gauge struct {
	echo
	level float64
}

func (g *gauge) Metrics() []Metric {
	if g.level < 0 {
		panic("boom")
	}
	return []Metric{{Name: "level", Help: "Its level.", Labels: []Pair{{"of", "water"}}, Value: g.level}, {Name: "asked_total", Help: "Asked.", Counter: true, Value: 1}}
}

func TestMetrics(t *testing.T) {
	levels := map[string]float64{"old": 1, "new": 2, "broken": -1}
	remote, stop, err := InProcess(Plugin{Name: "gauge", Version: "1", Backend: NewBackend(func(_ context.Context, c struct {
		Which string `json:"which"`
	}) (*gauge, error) {
		return &gauge{level: levels[c.Which]}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for i, open := range []struct{ instance, which string }{{"tank", "old"}, {"tank", "new"}, {"other", "broken"}} {
		if _, err := remote.OpenInstance(t.Context(), open.instance, uint64(i+1), json.RawMessage(`{"which":"`+open.which+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := remote.Metrics(t.Context())
	want := map[string][]Metric{"tank": {
		{Name: "level", Help: "Its level.", Labels: []Pair{{"of", "water"}}, Value: 2}, {Name: "asked_total", Help: "Asked.", Counter: true, Value: 1}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
