package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// readBuffer is how much of a response one read takes.
const readBuffer = 64 << 10

// worker is one connection that sends a request as soon as it has the answer to the last.
type worker struct {
	conn    net.Conn
	reader  responseReader
	request []byte
	key     []byte // where in request the key stands; nil: it has none
	use     *benchCase
	size    int64 // of a body

	latencies []time.Duration
	bytes     int64
}

// load is what one round on one server gave.
type load struct {
	Requests  int     `json:"requests"`
	PerSecond float64 `json:"requests_per_second"`
	MBSecond  float64 `json:"mb_per_second"` // of bodies, 10^6 bytes
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
}

// connect opens connections to the server for use. The answers must have
// about size bytes; each connection's first one is looked into here, before anything is
// measured.
func connect(use *benchCase, to *server, size int64, connections int) ([]*worker, error) {
	var workers []*worker
	for range connections {
		conn, err := net.Dial("tcp", to.address)
		if err != nil {
			return nil, errors.Join(err, disconnect(workers))
		}
		w := &worker{conn: conn, use: use, size: size}
		workers = append(workers, w)
		w.request, w.key = use.request(to)
		w.reader = responseReader{conn: conn, buf: make([]byte, readBuffer)}
		if err := w.first(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s on %s: %w", use.Name, to.address, err), disconnect(workers))
		}
	}
	return workers, nil
}

func disconnect(workers []*worker) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.conn.Close())
	}
	return errors.Join(errs...)
}

// drive lets all workers send requests for the duration; each finishes its last one.
func drive(workers []*worker, duration time.Duration) (*load, error) {
	errs := make([]error, len(workers))
	start := time.Now()
	deadline := start.Add(duration)
	var running sync.WaitGroup
	for i, w := range workers {
		running.Go(func() { errs[i] = w.until(deadline) })
	}
	running.Wait()
	elapsed := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return total(workers, elapsed), nil
}

// first sends the connection's first request, outside the measurement.
func (w *worker) first() error {
	if w.use.Stream {
		return nil // it would take as long as the measurement; its size is checked each time
	}
	var body []byte
	answer, err := w.ask(&body)
	if err != nil {
		return err
	}
	if answer.status != 200 {
		return fmt.Errorf("status %d: %.300s", answer.status, body)
	}
	return w.use.check(body)
}

// sizeTolerance is by how many bytes a body may differ from the one that was compared:
// rows have numbers of different lengths.
const sizeTolerance = 0.05

func (w *worker) until(deadline time.Time) error {
	low, high := int64(float64(w.size)*(1-sizeTolerance)), int64(float64(w.size)*(1+sizeTolerance))
	for before := time.Now(); before.Before(deadline); {
		answer, err := w.ask(nil)
		if err != nil {
			return err
		}
		if answer.status != 200 || answer.size < low || answer.size > high {
			return fmt.Errorf("an answer with status %d and %d bytes instead of 200 and about %d", answer.status, answer.size, w.size)
		}
		after := time.Now()
		w.latencies = append(w.latencies, after.Sub(before))
		w.bytes += answer.size
		before = after
	}
	return nil
}

func (w *worker) ask(keep *[]byte) (response, error) {
	if w.key != nil {
		key := w.use.KeyFrom + rand.IntN(w.use.KeyCount)
		for i := len(w.key) - 1; i >= 0; i-- {
			w.key[i] = byte('0' + key%10)
			key /= 10
		}
	}
	if _, err := w.conn.Write(w.request); err != nil {
		return response{}, err
	}
	return w.reader.next(keep)
}

func total(workers []*worker, elapsed time.Duration) *load {
	l := &load{}
	var latencies []time.Duration
	var bytes int64
	for _, w := range workers {
		latencies = append(latencies, w.latencies...)
		bytes += w.bytes
	}
	slices.Sort(latencies)
	l.Requests = len(latencies)
	l.PerSecond = float64(l.Requests) / elapsed.Seconds()
	l.MBSecond = float64(bytes) / 1e6 / elapsed.Seconds()
	l.P50 = microseconds(latencies[l.Requests/2])
	l.P99 = microseconds(latencies[l.Requests*99/100])
	return l
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
