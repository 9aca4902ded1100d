package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
)

// compare asks both servers for the case once and requires the same data, so that both
// are known to do the same work. It returns the sizes of the two bodies.
func compare(ctx context.Context, use *benchCase, servers [2]*server, reset func(context.Context) error) (sizes [2]int64, err error) {
	var bodies [2]io.Reader
	for i, s := range servers {
		if err := reset(ctx); err != nil {
			return sizes, err
		}
		body, err := s.answer(ctx, use)
		if err != nil {
			return sizes, fmt.Errorf("%s, %s: %w", s.name, use.Name, err)
		}
		defer body.Close()
		bodies[i] = &countingReader{r: body, n: &sizes[i]}
		if use.Stream {
			continue // both are read side by side
		}
		text, err := io.ReadAll(bodies[i])
		if err == nil {
			err = use.check(text)
		}
		if err != nil {
			return sizes, fmt.Errorf("%s, %s: %w", s.name, use.Name, err)
		}
		bodies[i] = bytes.NewReader(text)
	}
	if err := sameData(bodies[0], bodies[1], use.Rows); err != nil {
		return sizes, fmt.Errorf("%s: %s and %s differ: %w", use.Name, servers[0].name, servers[1].name, err)
	}
	return sizes, nil
}

type countingReader struct {
	r io.Reader
	n *int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	*c.n += int64(n)
	return n, err
}

// sameData reads two envelopes to their ends, row by row, and requires that their data
// be the same JSON of that many rows, whatever its spaces and the order of its keys. An
// object counts as an array with one row.
func sameData(a, b io.Reader, rows int) error {
	ra, err := openData(a)
	if err != nil {
		return err
	}
	rb, err := openData(b)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		x, errX := ra.next()
		y, errY := rb.next()
		switch {
		case errX == io.EOF && errY == io.EOF && n == rows:
			return nil
		case errX != nil || errY != nil:
			return fmt.Errorf("of %d rows number %d ended with %v and %v", rows, n+1, errX, errY)
		case bytes.Equal(x, y):
			continue
		}
		equal, err := sameJSON(x, y)
		if err != nil {
			return err
		}
		if !equal {
			return fmt.Errorf("row %d is\n%s and\n%s", n+1, x, y)
		}
	}
}

// dataReader reads the rows of an envelope's data one by one.
type dataReader struct {
	body    io.Reader
	decoder *json.Decoder
	single  json.RawMessage // data that is one object
	array   bool
}

// openData reads up to the data, which is the first key of an envelope.
func openData(r io.Reader) (*dataReader, error) {
	const prefix = `{"data":`
	start := make([]byte, len(prefix)+1)
	if _, err := io.ReadFull(r, start); err != nil {
		return nil, err
	}
	if string(start[:len(prefix)]) != prefix {
		return nil, fmt.Errorf("an envelope that begins with %q instead of %q", start, prefix)
	}
	d := &dataReader{body: r, decoder: json.NewDecoder(io.MultiReader(bytes.NewReader(start[len(prefix):]), r))}
	if start[len(prefix)] != '[' {
		return d, d.decoder.Decode(&d.single)
	}
	d.array = true
	_, err := d.decoder.Token()
	return d, err
}

// next returns the next row; io.EOF at the end of the whole body.
func (d *dataReader) next() (json.RawMessage, error) {
	var row json.RawMessage
	switch {
	case d.single != nil:
		row, d.single = d.single, nil
		return row, nil
	case d.array && d.decoder.More():
		err := d.decoder.Decode(&row)
		return row, err
	}
	if _, err := io.Copy(io.Discard, d.body); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

func sameJSON(x, y []byte) (bool, error) {
	var values [2]any
	for i, text := range [][]byte{x, y} {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&values[i]); err != nil {
			return false, err
		}
	}
	return reflect.DeepEqual(values[0], values[1]), nil
}
