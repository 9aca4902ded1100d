package httpx

import (
	"sync"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

const (
	watchEvery = 150 * time.Millisecond
	// watchAfter is the age from which a call is watched; most are answered earlier.
	watchAfter = 100 * time.Millisecond
)

// errClientLeft is the cause of a call's end when its client has closed the connection.
var errClientLeft = &sdk.Error{Kind: sdk.Canceled, Reason: "client_left", Source: sdk.FromHost, Message: "the client closed the connection"}

// watcher cancels the calls of clients that leave. The HTTP server does not read while
// it waits for an answer, so it never sees them go; one goroutine asks the kernel about
// all long calls at once instead. A client that only closes its sending half counts as
// gone, as with net/http.
type watcher struct {
	mu          sync.Mutex
	first, last *Request // in the order of their start

	polls    []pollFd // of the current scan; kept for reuse
	requests []*Request
}

func (w *watcher) add(r *Request) {
	w.mu.Lock()
	if r.prev = w.last; r.prev != nil {
		r.prev.next = r
	} else {
		w.first = r
	}
	w.last = r
	w.mu.Unlock()
}

func (w *watcher) remove(r *Request) {
	w.mu.Lock()
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		w.last = r.prev
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		w.first = r.next
	}
	r.prev, r.next = nil, nil
	w.mu.Unlock()
}

// run scans until stop is closed.
func (w *watcher) run(stop <-chan struct{}) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-ticker.C:
			w.scan(now.Add(-watchAfter))
		}
	}
}

// scan cancels the calls that began before since and whose client is gone. The lock is
// held while the kernel is asked, so that no descriptor is closed and reused meanwhile.
func (w *watcher) scan(since time.Time) {
	w.mu.Lock()
	w.polls, w.requests = w.polls[:0], w.requests[:0]
	for r := w.first; r != nil && r.started.Before(since); r = r.next {
		if r.conn != nil && r.conn.fd >= 0 {
			w.polls = append(w.polls, watchFor(r.conn.fd))
			w.requests = append(w.requests, r)
		}
	}
	poll(w.polls)
	w.mu.Unlock()
	for i := range w.polls {
		if gone(&w.polls[i]) {
			w.requests[i].cancel(errClientLeft)
		}
	}
	clear(w.requests)
}

// cancelAll ends every call, for a shutdown that has run out of patience.
func (w *watcher) cancelAll(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for r := w.first; r != nil; r = r.next {
		r.cancel(cause)
	}
}
