package main

const hexDigits = "0123456789abcdef"

// plain tells the bytes that stand in a JSON string as they are.
var plain = func() (t [256]bool) {
	for c := ' '; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendRow appends one row as PostgreSQL's row_to_json would write it, from the wire
// values (text format) of the eight columns.
func appendRow(b []byte, values [][]byte) []byte {
	b = append(b, `{"id":`...)
	b = appendLiteral(b, values[0])
	b = append(b, `,"name":`...)
	b = appendText(b, values[1])
	b = append(b, `,"category":`...)
	b = appendText(b, values[2])
	b = append(b, `,"price":`...)
	b = appendLiteral(b, values[3])
	b = append(b, `,"quantity":`...)
	b = appendLiteral(b, values[4])
	b = append(b, `,"active":`...)
	b = appendBool(b, values[5])
	b = append(b, `,"created_at":`...)
	b = appendTime(b, values[6])
	b = append(b, `,"tags":`...)
	b = appendLiteral(b, values[7])
	return append(b, '}')
}

// appendLiteral appends a value whose text is JSON already: numbers and jsonb.
func appendLiteral(b, value []byte) []byte {
	if value == nil {
		return append(b, "null"...)
	}
	return append(b, value...)
}

func appendBool(b, value []byte) []byte {
	switch {
	case value == nil:
		return append(b, "null"...)
	case value[0] == 't':
		return append(b, "true"...)
	default:
		return append(b, "false"...)
	}
}

// appendTime turns 2026-01-02 03:04:05.678+00 into "2026-01-02T03:04:05.678+00:00".
func appendTime(b, value []byte) []byte {
	if value == nil {
		return append(b, "null"...)
	}
	b = append(b, '"')
	start := len(b)
	b = append(b, value...)
	b[start+10] = 'T'
	return append(b, `:00"`...)
}

func appendText(b, value []byte) []byte {
	if value == nil {
		return append(b, "null"...)
	}
	b = append(b, '"')
	start := 0
	for i, c := range value {
		if plain[c] {
			continue
		}
		b = append(b, value[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	b = append(b, value[start:]...)
	return append(b, '"')
}
