package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// round is what one server did in one round.
type round struct {
	load
	CPU map[string]float64 `json:"cpu_us_per_request"` // by group of processes
}

// side is one server under one case and one number of connections: its rounds, their
// medians, and the most memory that its processes had.
type side struct {
	round
	PeakMB map[string]float64 `json:"peak_mb"`
	Rounds []round            `json:"rounds"`
}

// result is a case under one number of connections.
type result struct {
	Case        string  `json:"case"`
	Title       string  `json:"title"`
	Connections int     `json:"connections"`
	Stream      bool    `json:"stream"`
	Athena      side    `json:"athena"`
	Floor       side    `json:"floor"`
	Ratio       float64 `json:"ratio"`     // median of the rounds' ratios of throughput
	CPURatio    float64 `json:"cpu_ratio"` // the same of the floor's CPU per request by Athena's, of all processes
	Goal        float64 `json:"goal,omitempty"`
}

func (r *result) missed() bool { return r.Ratio < r.Goal }

// bench is one run of the program.
type bench struct {
	db       *database
	athena   *server
	floor    *server
	logged   *server // an Athena that asks for keys and records; nil: no case wants it
	given    bool    // athena and floor were running already
	rounds   int
	duration time.Duration
}

// servers are the two that a case compares.
func (b *bench) servers(use *benchCase) [2]*server {
	if use.Logged && !b.given {
		return [2]*server{b.logged, b.athena}
	}
	return [2]*server{b.athena, b.floor}
}

// measure runs a case on both servers in turn, so that whatever else the machine does
// meets both alike.
func (b *bench) measure(ctx context.Context, use *benchCase, sizes [2]int64, connections int) (*result, error) {
	r := &result{Case: use.Name, Title: use.Title, Connections: connections, Stream: use.Stream, Goal: use.goal(connections)}
	servers, sides := b.servers(use), []*side{&r.Athena, &r.Floor}
	for _, s := range servers {
		for _, pids := range s.processes() {
			resetPeak(pids)
		}
	}
	for range b.rounds {
		for i, s := range servers {
			one, err := b.round(ctx, use, s, sizes[i], connections)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx) // the signal has reached the servers too
			}
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", use.Name, s.name, err)
			}
			sides[i].Rounds = append(sides[i].Rounds, *one)
		}
	}
	for i, s := range servers {
		sides[i].PeakMB = map[string]float64{}
		for group, pids := range s.processes() {
			sides[i].PeakMB[group] = float64(peakMemory(pids)) / (1 << 20)
		}
		sides[i].round = medians(sides[i].Rounds)
	}
	var ratios, cpuRatios []float64
	for i := range b.rounds {
		athena, floor := &r.Athena.Rounds[i], &r.Floor.Rounds[i]
		ratios = append(ratios, athena.throughput(use.Stream)/floor.throughput(use.Stream))
		cpuRatios = append(cpuRatios, floor.totalCPU()/athena.totalCPU())
	}
	r.Ratio, r.CPURatio = median(ratios), median(cpuRatios)
	return r, nil
}

// totalCPU is the CPU per request of all processes together, in microseconds.
func (r *round) totalCPU() float64 {
	var sum float64
	for _, cpu := range r.CPU {
		sum += cpu
	}
	return sum
}

// round drives one server once.
func (b *bench) round(ctx context.Context, use *benchCase, s *server, size int64, connections int) (*round, error) {
	if err := b.db.emptyInserted(ctx); err != nil {
		return nil, err
	}
	workers, err := connect(use, s, size, connections)
	if err != nil {
		return nil, err
	}
	before, err := b.cpu(ctx, s)
	if err != nil {
		return nil, err
	}
	l, err := drive(workers, b.duration)
	if err = errors.Join(err, disconnect(workers)); err != nil {
		return nil, err
	}
	after, err := b.cpu(ctx, s)
	if err != nil {
		return nil, err
	}
	one := &round{load: *l, CPU: map[string]float64{}}
	for group, times := range after {
		one.CPU[group] = microseconds(spent(before[group], times)) / float64(l.Requests)
	}
	return one, nil
}

// cpu reads the CPU times of all groups of processes that work for the server.
func (b *bench) cpu(ctx context.Context, s *server) (map[string]map[int]time.Duration, error) {
	times := map[string]map[int]time.Duration{"load": {0: ownCPU()}}
	for group, pids := range s.processes() {
		times[group] = cpuTimes(pids)
	}
	pids, err := b.db.backends(ctx)
	times["postgres"] = cpuTimes(pids)
	return times, err
}

// throughput is what a case is about: bytes of a stream, requests of everything else.
func (l *load) throughput(stream bool) float64 {
	if stream {
		return l.MBSecond
	}
	return l.PerSecond
}

func medians(rounds []round) round {
	of := func(value func(round) float64) float64 {
		values := make([]float64, len(rounds))
		for i, r := range rounds {
			values[i] = value(r)
		}
		return median(values)
	}
	m := round{CPU: map[string]float64{}}
	for _, r := range rounds {
		m.Requests += r.Requests
	}
	m.PerSecond = of(func(r round) float64 { return r.PerSecond })
	m.MBSecond = of(func(r round) float64 { return r.MBSecond })
	m.P50 = of(func(r round) float64 { return r.P50 })
	m.P99 = of(func(r round) float64 { return r.P99 })
	for group := range rounds[0].CPU {
		m.CPU[group] = of(func(r round) float64 { return r.CPU[group] })
	}
	return m
}

// median is the middle value, of two middle ones the mean.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
