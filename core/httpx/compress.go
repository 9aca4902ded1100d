package httpx

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compressFrom is the size below which compressing costs more than it saves.
const compressFrom = 1 << 10

// encoder is what the three formats have in common. Without Close the output lacks its
// trailer, which is how a broken answer must end.
type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
}

// coding is a content coding with its idle encoders.
type coding struct {
	name string
	pool sync.Pool
}

// codings in the order of preference when the client likes them equally: by speed.
var codings = [...]*coding{
	{name: "zstd", pool: sync.Pool{New: func() any {
		// The window bounds the memory of both sides.
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(512<<10))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	}}},
	{name: "gzip", pool: sync.Pool{New: func() any {
		e, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil {
			panic(err)
		}
		return e
	}}},
	{name: "br", pool: sync.Pool{New: func() any { return brotli.NewWriterLevel(nil, brotli.BestSpeed) }}},
}

func (c *coding) get(w io.Writer) encoder {
	e := c.pool.Get().(encoder)
	e.Reset(w)
	return e
}

func (c *coding) put(e encoder) {
	e.Reset(io.Discard) // do not keep the output alive
	c.pool.Put(e)
}

// compress appends src, compressed, to dst.
func (c *coding) compress(dst *bytes.Buffer, src []byte) error {
	e := c.get(dst)
	defer c.put(e)
	if _, err := e.Write(src); err != nil {
		return err
	}
	return e.Close()
}

// negotiate chooses a coding by an Accept-Encoding header; nil is identity, which is
// also the answer to a header that accepts nothing at all.
func negotiate(header []byte) *coding {
	if len(header) == 0 {
		return nil
	}
	var weights [len(codings)]float64
	var named [len(codings)]bool
	identity, wildcard := -1.0, -1.0
	for part := range strings.SplitSeq(string(header), ",") {
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		q := weight(params)
		switch name {
		case "identity":
			identity = q
		case "*":
			wildcard = q
		case "x-gzip":
			name = "gzip"
		}
		for i, c := range codings {
			if c.name == name {
				weights[i], named[i] = q, true
			}
		}
	}
	best, chosen := max(identity, 0), (*coding)(nil)
	for i, c := range codings {
		q := weights[i]
		if !named[i] {
			q = wildcard
		}
		// A coding as welcome as identity wins: that is why it is named.
		if q > 0 && (q > best || q == best && chosen == nil) {
			best, chosen = q, c
		}
	}
	return chosen
}

// weight reads ";q=0.5"; a malformed one counts as 0, an absent one as 1.
func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// compressible reports whether a media type is text.
func compressible(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "json") ||
		strings.HasSuffix(media, "yaml") || strings.HasSuffix(media, "xml")
}
