package pluginhost

import (
	"context"
	"fmt"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// A plugin sends a heartbeat each second. After so many without one it is frozen.
const (
	heartbeat   = time.Second
	missedBeats = 3
	hostWasAway = heartbeat + heartbeat/2 // a tick later than this says that the gateway itself did not run
	// memoryTick is how often the memory of a process with a limit is looked at.
	memoryTick   = 100 * time.Millisecond
	mebibyteBits = 20
)

// guard watches a process until it has ended: it notices when its connection is lost, and
// kills it when it is frozen or holds more memory than it may.
func (p *plugin) guard(proc *process) {
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		err := proc.remote.Watch(ctx, func() { proc.beats.Add(1) })
		why := "its connection was lost"
		if e := sdk.AsError(err); e.Reason != "plugin_lost" {
			why += ": " + e.Error()
		}
		proc.lose(why)
	}()
	defer func() {
		cancel()
		<-watched
	}()
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	var memory <-chan time.Time
	if proc.limits.Memory > 0 {
		ticker := time.NewTicker(memoryTick)
		defer ticker.Stop()
		memory = ticker.C
	}
	last, missed := time.Now(), 0
	for {
		select {
		case <-proc.child.exited:
			return
		case now := <-ticker.C:
			switch late := now.Sub(last) > hostWasAway; {
			case proc.beats.Swap(0) > 0 || late || proc.child.attached:
				missed = 0
			default:
				missed++
			}
			last = now
			if missed == missedBeats {
				proc.end(fmt.Sprintf("it is frozen: it gave no sign of life for %d s", missedBeats))
			}
		case <-memory:
			if used, limit := residentBytes(proc.child.pid), proc.limits.Memory; used > limit {
				proc.end(fmt.Sprintf("it used %d MiB of memory, and may use %d MiB", used>>mebibyteBits, limit>>mebibyteBits))
			}
		}
	}
}

// end kills the process and says why.
func (p *process) end(why string) {
	p.lose(why)
	p.child.kill()
}
