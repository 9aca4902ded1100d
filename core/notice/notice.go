// Package notice tells the gateways of one ledger at once, over Redis, what one of them has
// changed. A notice that is lost costs a second: then the ledger is looked at anyway.
package notice

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
)

// channel is the Redis channel of notices. A notice is the name of what has changed.
const channel = "athena:changes"

// publishTimeout bounds how long one notice is tried.
const publishTimeout = 2 * time.Second

// Notices sends and hears notices.
type Notices struct {
	client *redis.Client
	log    hclog.Logger
	heard  func(subject string)
	queue  chan string
	stop   context.CancelFunc
	tasks  sync.WaitGroup
}

// CheckURL reports whether url is one that Redis's client understands, such as
// redis://user:password@host:6379/0 or rediss:// for TLS. The error does not hold it.
func CheckURL(url string) error {
	if _, err := redis.ParseURL(url); err != nil {
		return errors.New("want redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS")
	}
	return nil
}

// Open listens until Close and calls heard for each notice, this gateway's own included, and
// after each time that the connection was lost, as notices may have been missed then. A
// Redis that cannot be reached is tried again in the background.
func Open(url string, logger hclog.Logger, heard func(subject string)) (*Notices, error) {
	if err := CheckURL(url); err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	n := &Notices{client: redis.NewClient(options), log: logger, heard: heard, queue: make(chan string, 64), stop: stop}
	n.tasks.Go(func() { n.listen(ctx) })
	n.tasks.Go(func() { n.send(ctx) })
	return n, nil
}

// Publish sends a notice in the background. It never waits.
func (n *Notices) Publish(subject string) {
	select {
	case n.queue <- subject:
	default: // Redis is down, and the others look by themselves
	}
}

// Close ends listening and sending.
func (n *Notices) Close() error {
	n.stop()
	err := n.client.Close()
	n.tasks.Wait()
	return err
}

func (n *Notices) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case subject := <-n.queue:
			bounded, cancel := context.WithTimeout(ctx, publishTimeout)
			if err := n.client.Publish(bounded, channel, subject).Err(); err != nil && ctx.Err() == nil {
				n.log.Warn("other gateways were not told of a change; they look for themselves every second", "subject", subject, "error", err)
			}
			cancel()
		}
	}
}

// listen passes notices on. Each loss of the connection is logged once.
func (n *Notices) listen(ctx context.Context) {
	lost := false
	for ctx.Err() == nil {
		subscription := n.client.Subscribe(ctx, channel)
		for {
			message, err := subscription.Receive(ctx)
			if ctx.Err() != nil {
				break
			}
			if err != nil {
				if !lost {
					n.log.Warn("no notices from Redis; changes of other gateways are looked for every second", "error", err)
				}
				lost = true
				break
			}
			if lost {
				n.log.Info("notices come from Redis again")
				lost = false
			}
			switch m := message.(type) {
			case *redis.Subscription:
				n.heard("") // what came before is unknown
			case *redis.Message:
				n.heard(m.Payload)
			}
		}
		_ = subscription.Close()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
