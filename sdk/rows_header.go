package sdk

import (
	"slices"
	"sync/atomic"
)

// Header is the columns of an answer, kept to be used for many. It must not be copied or
// changed after its first use; any number of Rows may use it at the same time.
type Header struct {
	Columns []ColumnInfo
	named   [NamesSnake + 1]atomic.Pointer[namedColumns]
}

// namedColumns are columns under one naming policy.
type namedColumns struct {
	columns []ColumnInfo
	keys    [][]byte
}

func (h *Header) as(policy Naming) *namedColumns {
	if int(policy) >= len(h.named) {
		policy = NamesAsIs
	}
	n := h.named[policy].Load()
	if n == nil {
		n = nameColumns(h.Columns, policy)
		h.named[policy].Store(n)
	}
	return n
}

func nameColumns(columns []ColumnInfo, policy Naming) *namedColumns {
	if policy != NamesAsIs {
		columns = slices.Clone(columns)
		for i := range columns {
			columns[i].Name = Rename(columns[i].Name, policy)
		}
	}
	size := 0
	for i := range columns {
		size += len(columns[i].Name) + 4
	}
	n := &namedColumns{columns: columns, keys: make([][]byte, len(columns))}
	flat := make([]byte, 0, size+16)
	for i := range columns {
		start := len(flat)
		flat = append(flat, ',')
		flat = AppendString(flat, columns[i].Name)
		flat = append(flat, ':')
		n.keys[i] = flat[start:len(flat):len(flat)]
	}
	return n
}
