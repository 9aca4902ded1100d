package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// responseReader reads HTTP/1.1 responses off one keep-alive connection with as little
// work as it can: it shares the processors with the servers that are measured.
type responseReader struct {
	conn io.Reader
	buf  []byte
	r, w int // buf[r:w] is read but not consumed
	keep *[]byte
}

// response is the outcome of one request.
type response struct {
	status int
	size   int64 // bytes of the body, without chunk framing
}

var (
	headEnd       = []byte("\r\n\r\n")
	statusPrefix  = []byte("HTTP/1.1 ")
	contentLength = []byte("\r\ncontent-length:")
	chunkedCoding = []byte("\r\ntransfer-encoding: chunked\r\n")
)

// next reads one response to its end. If keep is not nil the body is appended to it.
func (r *responseReader) next(keep *[]byte) (response, error) {
	r.keep = keep
	head, err := r.head()
	if err != nil {
		return response{}, err
	}
	if len(head) < 12 || !bytes.HasPrefix(head, statusPrefix) {
		return response{}, fmt.Errorf("not an HTTP/1.1 response: %.40q", head)
	}
	status, _, ok := digits(head[9:12])
	if !ok {
		return response{}, fmt.Errorf("no status in %.40q", head)
	}
	answer := response{status: int(status)}
	if at := indexFold(head, contentLength); at >= 0 {
		size, _, ok := digits(bytes.TrimLeft(head[at+len(contentLength):], " "))
		if !ok {
			return answer, errors.New("a Content-Length that is no number")
		}
		answer.size = size
		return answer, r.skip(size)
	}
	if indexFold(head, chunkedCoding) < 0 {
		return answer, errors.New("a response with neither Content-Length nor chunks")
	}
	answer.size, err = r.chunks()
	return answer, err
}

// head consumes the status line and the headers and returns them, the empty line
// included; they are valid until the next read.
func (r *responseReader) head() ([]byte, error) {
	from := 0
	for {
		if at := bytes.Index(r.buf[r.r+from:r.w], headEnd); at >= 0 {
			head := r.buf[r.r : r.r+from+at+len(headEnd)]
			r.r += len(head)
			return head, nil
		}
		from = max(0, r.w-r.r-len(headEnd)+1)
		if err := r.more(); err != nil {
			return nil, err
		}
	}
}

// chunks consumes a chunked body and returns its size.
func (r *responseReader) chunks() (int64, error) {
	var total int64
	for {
		line, err := r.line()
		if err != nil {
			return total, err
		}
		size, ok := hexNumber(line)
		if !ok {
			return total, fmt.Errorf("a chunk size of %.20q", line)
		}
		if size == 0 {
			return total, r.trailer()
		}
		if err := r.skip(size); err != nil {
			return total, err
		}
		total += size
		if line, err = r.line(); err != nil {
			return total, err
		}
		if len(line) != 0 {
			return total, fmt.Errorf("%.20q after a chunk", line)
		}
	}
}

func (r *responseReader) trailer() error {
	for {
		line, err := r.line()
		if err != nil || len(line) == 0 {
			return err
		}
	}
}

// line consumes a line and returns it without its end.
func (r *responseReader) line() ([]byte, error) {
	for {
		if at := bytes.IndexByte(r.buf[r.r:r.w], '\n'); at >= 0 {
			line := bytes.TrimSuffix(r.buf[r.r:r.r+at], []byte("\r"))
			r.r += at + 1
			return line, nil
		}
		if err := r.more(); err != nil {
			return nil, err
		}
	}
}

// skip consumes n bytes of body.
func (r *responseReader) skip(n int64) error {
	for {
		here := int(min(n, int64(r.w-r.r)))
		if r.keep != nil {
			*r.keep = append(*r.keep, r.buf[r.r:r.r+here]...)
		}
		r.r += here
		n -= int64(here)
		if n == 0 {
			return nil
		}
		if err := r.more(); err != nil {
			return err
		}
	}
}

// more reads at least one byte behind what is buffered. The end of the connection inside
// a response is io.ErrUnexpectedEOF.
func (r *responseReader) more() error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if r.w == len(r.buf) {
		if r.r == 0 {
			return errors.New("headers or a line that outgrow the buffer")
		}
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	n, err := r.conn.Read(r.buf[r.w:])
	r.w += n
	switch {
	case n > 0:
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	case err == nil:
		return io.ErrNoProgress
	default:
		return err
	}
}

// indexFold finds needle, which is lower case, in any letter case.
func indexFold(b, needle []byte) int {
	for from := 0; ; {
		at := bytes.IndexByte(b[from:], needle[0])
		if at < 0 || len(b)-from-at < len(needle) {
			return -1
		}
		from += at
		if bytes.EqualFold(b[from:from+len(needle)], needle) {
			return from
		}
		from++
	}
}

// digits reads the decimal number that b begins with and returns its length too.
func digits(b []byte) (n int64, length int, ok bool) {
	for length < len(b) && b[length] >= '0' && b[length] <= '9' {
		if length == 18 {
			return 0, length, false
		}
		n = n*10 + int64(b[length]-'0')
		length++
	}
	return n, length, length > 0
}

// hexNumber reads a chunk size; an extension after a semicolon is ignored.
func hexNumber(line []byte) (int64, bool) {
	line, _, _ = bytes.Cut(line, []byte(";"))
	line = bytes.TrimRight(line, " \t")
	if len(line) == 0 || len(line) > 15 {
		return 0, false
	}
	var n int64
	for _, c := range line {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int64(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | int64(c-'A'+10)
		default:
			return 0, false
		}
	}
	return n, true
}
