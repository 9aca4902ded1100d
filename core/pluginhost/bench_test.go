package pluginhost

import (
	"context"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkHop is one call with an answer of 1 KB through a real plugin process: its
// latency, and in cpu-us/op what gateway and plugin together spend on it. Both heaps are
// tiny here and collected all the time, a third of the cost: GOGC reaches both processes.
func BenchmarkHop(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the gateway runs
	h := newHost(b, Options{Env: []string{"GOGC"}}, "db")
	i := mustOpen(b, h, "db", "")
	for _, callers := range []int{1, 16, 64} {
		b.Run(strconv.Itoa(callers)+"callers", func(b *testing.B) {
			hop(b, i, callers, 100*callers) // sessions are made
			pid := i.now.Load().process.child.cmd.Process.Pid
			before := cpuTime(b, pid)
			b.ReportAllocs()
			b.ResetTimer()
			hop(b, i, callers, b.N)
			b.StopTimer()
			b.ReportMetric(float64((cpuTime(b, pid)-before).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

func hop(b *testing.B, i *Instance, callers, calls int) {
	var left atomic.Int64
	left.Store(int64(calls))
	done := make(chan error, callers)
	for range callers {
		go func() {
			call := sqlCall("kilobyte")
			for left.Add(-1) >= 0 {
				answer, err := i.Execute(context.Background(), call)
				for err == nil {
					_, err = answer.Next()
				}
				if answer == nil || answer.Tail() == nil {
					done <- err
					return
				}
				answer.Close()
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime is what this process and the plugin have used so far.
func cpuTime(b *testing.B, pid int) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	self := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Fatalf("the plugin's CPU time is read from /proc: %v", err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	const ticks = 100 // a second, on every Linux
	return self + time.Duration(user+system)*(time.Second/ticks)
}
