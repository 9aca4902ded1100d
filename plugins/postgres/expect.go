package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// expect checks what the call expects of the rows that were written, or read.
func (u *unit) expect() error {
	expect := &u.call.Expect
	var n int64
	for _, t := range u.tasks {
		if t.affected != nil {
			n += *t.affected
		} else {
			n += t.returned
		}
	}
	changed := ""
	if u.writes {
		changed = "; nothing was changed"
	}
	var e *sdk.Error
	switch {
	case expect.ExactlyOne && n != 1:
		e = sdk.E(sdk.Invalid, "not_exactly_one", fmt.Sprintf("%d rows where exactly one was expected%s", n, changed)).
			WithHint("narrow the filter to one row, or do not ask for exactly one")
	case expect.MaxAffected != nil && n > *expect.MaxAffected:
		e = sdk.E(sdk.Invalid, "max_affected_exceeded", fmt.Sprintf("%d rows where at most %d were expected%s", n, *expect.MaxAffected, changed)).
			WithHint("narrow the filter, or allow more rows")
	case expect.KeyEquals != nil:
		return u.expectKey()
	default:
		return nil
	}
	e.Details = json.RawMessage(`{"rows":` + strconv.FormatInt(n, 10) + `}`)
	return e
}

// expectKey checks the primary key of the written row. Texts that differ are left to the
// server to compare: 01 is 1, and a uuid has two letter cases.
func (u *unit) expectKey() error {
	for _, t := range u.tasks {
		if t.keys == nil || t.returned == 0 {
			continue
		}
		same := t.returned == 1 && t.key != nil
		if want := u.call.Expect.KeyEquals; same && !sameTexts(t.key, want) {
			var err error
			if same, err = u.sameKey(t, want); err != nil {
				return err
			}
		}
		if !same {
			e := sdk.E(sdk.Invalid, "key_mismatch", "the row's primary key is not the one that is expected; nothing was changed").
				WithHint("give the key's columns the values by which the row is addressed")
			e.Table = t.table.Name
			return e
		}
	}
	return nil
}

func sameTexts(key []string, want []sdk.Value) bool {
	for i := range key {
		if want[i].Hint == sdk.Null || key[i] != want[i].Text {
			return false
		}
	}
	return true
}

// sameKey asks the server whether the key is the one that is wanted.
func (u *unit) sameKey(t *task, want []sdk.Value) (same bool, err error) {
	var b strings.Builder
	args := make([]sdk.Value, 0, 2*len(want))
	b.WriteString("select true")
	for i, name := range t.keys {
		for j := range t.table.Columns {
			if c := &t.table.Columns[j]; c.Name == name {
				fmt.Fprintf(&b, " and $%d::%s = $%d::%s", 2*i+1, c.Type, 2*i+2, c.Type)
			}
		}
		args = append(args, sdk.Value{Hint: sdk.String, Text: t.key[i]}, want[i])
	}
	err = u.pipeline.add(&step{text: b.String(), args: args, index: t.index, read: func(r *result) error {
		same = r.more && string(r.rr.Values()[0]) == "t"
		return nil
	}})
	if err == nil {
		err = u.pipeline.flush()
	}
	return same, err
}

const headersSQL = "select pg_catalog.current_setting('response.headers', true), pg_catalog.current_setting('response.status', true)"

// headersStep reads the status and headers that SQL has set for the answer.
func (u *unit) headersStep() *step {
	return &step{text: headersSQL, prepared: true, index: u.tasks[len(u.tasks)-1].index, read: func(r *result) error {
		if !r.more {
			return nil
		}
		var err error
		head := &u.rows.Head
		values := r.rr.Values()
		if head.Headers, err = readHeaders(values[0]); err == nil {
			head.Status, err = readStatus(values[1])
		}
		return err
	}}
}

// readHeaders reads response.headers: a JSON array of objects with one key each.
func readHeaders(text []byte) ([]sdk.Pair, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var list []map[string]string
	err := json.Unmarshal(text, &list)
	headers := make([]sdk.Pair, 0, len(list))
	for _, one := range list {
		for name, value := range one {
			if len(one) != 1 || !isHeader(name, value) {
				err = strconv.ErrSyntax
			}
			headers = append(headers, sdk.Pair{Name: name, Value: value})
		}
		if len(one) == 0 {
			err = strconv.ErrSyntax
		}
	}
	if err != nil || list == nil {
		return nil, badSetting("bad_response_headers", `response.headers must be a JSON array of objects with one key each, such as [{"Cache-Control": "no-store"}]`)
	}
	return headers, nil
}

// isHeader reports whether a name and a value may stand in an HTTP header.
func isHeader(name, value string) bool {
	const separators = "()<>@,;:\\\"/[]?={} \t"
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(separators, c) >= 0 {
			return false
		}
	}
	return name != "" && !strings.ContainsAny(value, "\r\n\x00")
}

// readStatus reads response.status: a number.
func readStatus(text []byte) (int, error) {
	if len(text) == 0 {
		return 0, nil
	}
	status, err := strconv.Atoi(string(text))
	if err != nil || status < 100 || status > 599 {
		return 0, badSetting("bad_response_status", "response.status must be an HTTP status, a number from 100 to 599")
	}
	return status, nil
}

func badSetting(reason, message string) error {
	e := sdk.E(sdk.Invalid, reason, message)
	e.Source = sdk.FromDownstream
	return e
}
