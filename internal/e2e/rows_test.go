//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// million is the number of rows of the view wide, each of about 200 bytes of JSON.
const million = 1_000_000

const wideSQL = `
	CREATE TABLE numbers AS SELECT i::bigint AS id FROM generate_series(1, 1000000) i;
	ANALYZE numbers;
	CREATE VIEW wide AS SELECT id, md5(id::text) AS hash, repeat('x', 140) AS filler FROM numbers`

var filler = strings.Repeat("x", 140)

// readWide reads an answer with rows of wide as it comes, and checks every byte: an
// envelope with status success, and each row whole and at most once. It returns how many.
func readWide(r io.Reader) (int, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	before, err := in.ReadSlice('[')
	if err != nil {
		return 0, err
	}
	envelope := bytes.Clone(before)
	seen := make([]bool, million+1)
	var want, digest []byte
	rows := 0
	for {
		row, err := in.ReadSlice('}')
		if err != nil {
			return rows, err
		}
		id := 0
		for _, c := range bytes.TrimPrefix(row, []byte(`{"id":`)) {
			if c < '0' || c > '9' {
				break
			}
			id = min(10*id+int(c-'0'), million+1)
		}
		if id < 1 || id > million || seen[id] {
			return rows, fmt.Errorf("row %d again, or no row: %q", id, row)
		}
		seen[id] = true
		sum := md5.Sum(strconv.AppendInt(nil, int64(id), 10))
		digest = hex.AppendEncode(digest[:0], sum[:])
		want = fmt.Appendf(want[:0], `{"id":%d,"hash":"%s","filler":"%s"}`, id, digest, filler)
		if !bytes.Equal(row, want) {
			return rows, fmt.Errorf("row %d reads %q", id, row)
		}
		rows++
		next, err := in.ReadByte()
		if err != nil {
			return rows, err
		}
		if next == ']' {
			break
		}
		if next != ',' {
			return rows, fmt.Errorf("row %d is followed by %q", id, next)
		}
	}
	after, err := io.ReadAll(in)
	if err != nil {
		return rows, err
	}
	envelope = append(append(envelope, ']'), after...)
	var parsed struct{ Status string }
	if err := json.Unmarshal(envelope, &parsed); err != nil || parsed.Status != "success" {
		return rows, fmt.Errorf("the envelope reads %s: %v", envelope, err)
	}
	return rows, nil
}
