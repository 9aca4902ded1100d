package pluginhost

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Bounds of what is kept of a plugin's output.
const (
	logLines  = 256     // on their way into the host's log
	lastLines = 50      // of these, for messages
	maxLine   = 8 << 10 // bytes; the rest of a longer line is dropped
)

// logs carries a plugin's output into the host's log through a ring of fixed size. Writing
// never blocks: when the host's log is slow, the oldest lines are overwritten and counted.
type logs struct {
	sink    hclog.Logger
	secrets secretSet
	wake    chan struct{} // a line is there
	stop    chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	lines   [logLines][]byte // line n is at n % logLines
	next    uint64           // number of the next line
	logged  uint64           // number of the first line that is not in the host's log
	dropped uint64
	spent   float64       // bytes looked at, less what logRate has given back
	spentAt time.Time     // when that was so
	owed    time.Duration // see debt
	tail    []byte        // the end of what was not looked at since lines was added to
}

func newLogs(sink hclog.Logger) *logs {
	l := &logs{sink: sink, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// close passes on what is left and ends.
func (l *logs) close() {
	close(l.stop)
	<-l.done
}

func (l *logs) add(line []byte) {
	line = bytes.TrimRight(line, "\r\n")
	if len(line) == 0 {
		return
	}
	clean := l.secrets.clean(string(line))
	l.mu.Lock()
	l.tail = nil
	slot := &l.lines[l.next%logLines]
	*slot = append((*slot)[:0], clean...)
	l.next++
	if l.next-l.logged > logLines {
		l.logged++
		l.dropped++
	}
	l.mu.Unlock()
	l.poke()
}

func (l *logs) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// setLevel says which lines reach the host's log.
func (l *logs) setLevel(level hclog.Level) { l.sink.SetLevel(level) }

// readLines calls f for each line of r, cut to maxLine. The bytes are f's only during the
// call.
func readLines(r io.Reader, f func(line []byte)) {
	reader := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			f(line)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = reader.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// startsCrash reports whether a line is what Go says first when it ends the process.
func startsCrash(line []byte) bool {
	for _, start := range []string{"panic: ", "fatal error: ", "runtime: ", "SIGSEGV: ", "SIGABRT: "} {
		if bytes.HasPrefix(line, []byte(start)) {
			return true
		}
	}
	return false
}

// mark is the number of the next line.
func (l *logs) mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// last returns the newest lines, at most that many and none older than number from, secrets
// removed. Of hclog's JSON it shows level, message and fields.
func (l *logs) last(from uint64, most int) []string {
	l.mu.Lock()
	n := min(l.next-from, uint64(most), logLines)
	raw := make([][]byte, 0, n)
	for i := l.next - n; i < l.next; i++ {
		raw = append(raw, bytes.Clone(l.lines[i%logLines]))
	}
	if _, tail, found := bytes.Cut(l.tail, []byte("\n")); found {
		for line := range bytes.Lines(bytes.Clone(tail)) {
			if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
				raw = append(raw, line[:min(len(line), maxLine)])
			}
		}
		raw = raw[max(0, len(raw)-most):]
	}
	l.mu.Unlock()
	lines := make([]string, 0, n)
	for _, line := range raw {
		if level, message, args := parseLine(line); level != hclog.NoLevel {
			var text strings.Builder
			text.WriteString("[" + strings.ToUpper(level.String()) + "] " + message)
			for i := 0; i < len(args); i += 2 {
				text.WriteString(" " + args[i].(string) + "=" + hclogText(args[i+1]))
			}
			line = []byte(text.String())
		}
		lines = append(lines, l.secrets.clean(string(line)))
	}
	return lines
}

func hclogText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	text, _ := json.Marshal(v)
	return string(text)
}

// run passes lines on. How many were dropped it tells at most once a second.
func (l *logs) run() {
	defer close(l.done)
	var buffer []byte
	var told uint64
	var toldAt time.Time
	for stopping := false; ; {
		line, dropped, ok := l.take(buffer[:0])
		if told < dropped && (time.Since(toldAt) > time.Second || stopping && !ok) {
			l.sink.Warn("the plugin logs faster than the gateway's log takes it: lines were dropped", "dropped", dropped-told)
			told, toldAt = dropped, time.Now()
		}
		if ok {
			buffer = line
			l.pass(line)
			continue
		}
		if stopping {
			return
		}
		select {
		case <-l.wake:
		case <-l.stop:
			stopping = true
		}
	}
}

// take copies the next line for the host's log into buffer.
func (l *logs) take(buffer []byte) (line []byte, dropped uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logged == l.next {
		return buffer, l.dropped, false
	}
	line = append(buffer, l.lines[l.logged%logLines]...)
	l.logged++
	return line, l.dropped, true
}

func (l *logs) droppedLines() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// pass writes one line to the host's log: hclog's JSON with its level and fields, other
// text as information, the start of a crash as an error.
func (l *logs) pass(line []byte) {
	level, message, args := parseLine(line)
	switch {
	case level != hclog.NoLevel:
		for i := 1; i < len(args); i += 2 { // what was escaped twice is so once
			args[i] = l.secrets.clean(hclogText(args[i]))
		}
		l.sink.Log(level, l.secrets.clean(message), args...)
	case startsCrash(line):
		l.sink.Error(string(line))
	default:
		l.sink.Info(string(line))
	}
}

// parseLine reads a line of hclog's JSON format. Anything else has level NoLevel.
func parseLine(line []byte) (hclog.Level, string, []any) {
	if line[0] != '{' {
		return hclog.NoLevel, "", nil
	}
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if decoder.Decode(&fields) != nil {
		return hclog.NoLevel, "", nil
	}
	message, _ := fields["@message"].(string)
	name, _ := fields["@level"].(string)
	level := hclog.LevelFromString(name)
	if level == hclog.NoLevel {
		return hclog.NoLevel, "", nil
	}
	for _, key := range []string{"@message", "@level", "@timestamp", "@module", "@caller"} {
		delete(fields, key)
	}
	args := make([]any, 0, 2*len(fields))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		args = append(args, key, fields[key])
	}
	return level, message, args
}
