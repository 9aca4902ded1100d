package ledger

import (
	"io"
	"strconv"
	"sync"
	"time"
)

// Row takes the values of a row of a Log, in the order of its columns. For PostgreSQL it
// is a line of COPY's text format, which columns of any type can read: a table may be an
// older installation's. For SQLite it is a list of parameters.
type Row struct {
	lines  bool
	text   []byte // lines
	values []any  // otherwise
}

// Null appends NULL.
func (r *Row) Null() {
	if r.lines {
		r.text = append(r.text, `\N`+"\t"...)
		return
	}
	r.values = append(r.values, nil)
}

// Text appends a text, which has to be UTF-8 without zero bytes.
func (r *Row) Text(s string) {
	if !r.lines {
		r.values = append(r.values, s)
		return
	}
	start := 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '\b' && c <= '\r':
			c = "btnvfr"[c-'\b']
		case c != '\\':
			continue
		}
		r.text = append(append(r.text, s[start:i]...), '\\', c)
		start = i + 1
	}
	r.text = append(append(r.text, s[start:]...), '\t')
}

// TextOrNull appends a text, and NULL for "".
func (r *Row) TextOrNull(s string) {
	if s == "" {
		r.Null()
		return
	}
	r.Text(s)
}

// Bool appends a boolean.
func (r *Row) Bool(b bool) {
	switch {
	case !r.lines:
		r.values = append(r.values, b)
	case b:
		r.text = append(r.text, "t\t"...)
	default:
		r.text = append(r.text, "f\t"...)
	}
}

// Int appends an integer.
func (r *Row) Int(n int64) {
	if r.lines {
		r.text = append(strconv.AppendInt(r.text, n, 10), '\t')
		return
	}
	r.values = append(r.values, n)
}

// Float appends a number.
func (r *Row) Float(f float64) {
	if r.lines {
		r.text = append(strconv.AppendFloat(r.text, f, 'g', -1, 64), '\t')
		return
	}
	r.values = append(r.values, f)
}

// Time appends a time, to the microsecond.
func (r *Row) Time(t time.Time) {
	if r.lines {
		r.text = append(t.UTC().Truncate(time.Microsecond).AppendFormat(r.text, time.RFC3339Nano), '\t')
		return
	}
	r.values = append(r.values, t)
}

// lines is the text of a batch for COPY, made while it is read. The driver reads it on
// another goroutine, which may be at it when COPY has failed already: end ends that.
type lines[T any] struct {
	mu    sync.Mutex
	batch []T
	write func(*T, *Row)
	row   Row
	sent  int // bytes of row.text
}

func (l *lines[T]) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batch = nil
}

func (l *lines[T]) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent == len(l.row.text) {
		l.row.text, l.sent = l.row.text[:0], 0
		for len(l.batch) > 0 && len(l.row.text) < len(p)/2 {
			l.write(&l.batch[0], &l.row)
			l.row.text[len(l.row.text)-1] = '\n' // in place of the last tab
			l.batch = l.batch[1:]
		}
		if len(l.row.text) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, l.row.text[l.sent:])
	l.sent += n
	return n, nil
}
