package main

import (
	"strconv"

	"github.com/athena-gateway/athena/sdk"
)

var _ sdk.Meter = (*database)(nil)

// Metrics are the numbers of the pools: the primary's, and those of replicas counted from 1.
func (db *database) Metrics() []sdk.Metric {
	list := db.server.metrics(nil, "primary")
	for i, r := range db.replicas {
		list = r.metrics(list, "replica-"+strconv.Itoa(i+1))
	}
	return append(list, sdk.Metric{Name: "catalogue_tables", Help: "Tables and views that are known.",
		Value: float64(len(db.catalogues.current.Load().Tables))})
}

func (s *server) metrics(list []sdk.Metric, name string) []sdk.Metric {
	stat := s.pool.Stat()
	server := sdk.Pair{Name: "server", Value: name}
	connections := func(state string, n int32) sdk.Metric {
		return sdk.Metric{Name: "pool_connections", Help: "Connections to the server by state: used, idle, connecting.",
			Labels: []sdk.Pair{server, {Name: "state", Value: state}}, Value: float64(n)}
	}
	return append(list,
		connections("used", stat.AcquiredConns()), connections("idle", stat.IdleConns()), connections("connecting", stat.ConstructingConns()),
		sdk.Metric{Name: "pool_connections_max", Help: "Connections to the server at most.", Labels: []sdk.Pair{server}, Value: float64(stat.MaxConns())},
		sdk.Metric{Name: "pool_connects_total", Help: "Connections made.", Counter: true, Labels: []sdk.Pair{server}, Value: float64(stat.NewConnsCount())},
		sdk.Metric{Name: "pool_waits_total", Help: "Calls that had to wait for a free connection.", Counter: true, Labels: []sdk.Pair{server}, Value: float64(s.waits.Load())},
		sdk.Metric{Name: "pool_timeouts_total", Help: "Calls that waited for a free connection in vain.", Counter: true, Labels: []sdk.Pair{server}, Value: float64(s.timeouts.Load())})
}
