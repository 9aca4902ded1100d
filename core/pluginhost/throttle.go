package pluginhost

import (
	"bytes"
	"io"
	"time"
)

// Bounds of what is read of a plugin's output.
const (
	// More than this is not looked at: a plugin that floods its output must not cost the
	// others their processor.
	logRate  = 1 << 20  // bytes a second
	logBurst = 4 << 20  // bytes
	keptTail = 64 << 10 // bytes of what was not looked at, in case they are its last words
	// floodRest is how long a flood is left in its pipe once that is empty: a reader that
	// wakes for each write costs more than what it reads.
	floodRest = 5 * time.Millisecond
	// printRate bounds how fast a flood is taken that comes through go-plugin's streams, in
	// small messages: the plugin waits for it.
	printRate = 16 << 20 // bytes a second
)

// Write adds p's lines; go-plugin writes here what a plugin prints after its start.
func (l *logs) Write(p []byte) (int, error) {
	if l.spend(len(p)) {
		readLines(bytes.NewReader(p), l.add)
	} else {
		l.drop(p)
		time.Sleep(l.debt(len(p)))
	}
	return len(p), nil
}

// debt is how long a flood is to wait after n more bytes: nothing until floodRest is due.
func (l *logs) debt(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed += time.Duration(n) * time.Second / printRate
	if l.owed < floodRest {
		return 0
	}
	owed := l.owed
	l.owed = 0
	return owed
}

// spend reports whether n more bytes may be looked at.
func (l *logs) spend(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.spent = max(0, l.spent-now.Sub(l.spentAt).Seconds()*logRate)
	l.spentAt = now
	if l.spent+float64(n) > logBurst {
		return false
	}
	l.spent += float64(n)
	return true
}

// drop counts the lines of text that nobody looked at, and keeps the last ones.
func (l *logs) drop(text []byte) {
	l.mu.Lock()
	l.dropped += uint64(bytes.Count(text, []byte("\n")))
	text = text[max(0, len(text)-keptTail):]
	l.tail = append(l.tail[:0], l.tail[min(len(l.tail), max(0, len(l.tail)+len(text)-keptTail)):]...)
	l.tail = append(l.tail, text...)
	l.mu.Unlock()
	l.poke()
}

// takeTail returns the whole lines of the tail, which are no longer kept.
func (l *logs) takeTail() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, lines, _ := bytes.Cut(l.tail, []byte("\n"))
	l.tail = nil
	return lines
}

// throttle reads what may be looked at: whole lines, and of a flood the last ones.
type throttle struct {
	logs   *logs
	r      io.Reader
	buffer []byte
	left   []byte // to be read
	cut    bool   // what was passed over may have ended in the middle of a line
	err    error
}

func (t *throttle) Read(p []byte) (int, error) {
	for len(t.left) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		var n int
		n, t.err = t.r.Read(t.buffer)
		chunk := t.buffer[:n]
		switch {
		case !t.logs.spend(n):
			t.logs.drop(chunk)
			t.cut = true
			if n < len(t.buffer) && t.err == nil {
				time.Sleep(floodRest)
			}
		case t.cut && n > 0:
			_, t.left, t.cut = bytes.Cut(chunk, []byte("\n"))
			t.cut = !t.cut
		default:
			t.left = chunk
		}
		if t.err != nil && t.cut {
			t.left = t.logs.takeTail()
		}
	}
	n := copy(p, t.left)
	t.left = t.left[n:]
	return n, nil
}
