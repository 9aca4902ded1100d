package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRequestsAreWhatTheySay(t *testing.T) {
	for _, use := range cases {
		raw, key := use.request(&server{address: "127.0.0.1:1"})
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(use.Name, err)
		}
		body, err := io.ReadAll(request.Body)
		if err != nil || !json.Valid(body) {
			t.Errorf("%s: body %.200s %v", use.Name, body, err)
		}
		if (key != nil) != (use.KeyCount > 0) || bytes.Contains(raw, []byte(keyMark)) {
			t.Errorf("%s: key %q of %d", use.Name, key, use.KeyCount)
		}
	}
}

func TestDriveCountsAnswersAndVariesKeys(t *testing.T) {
	var mu sync.Mutex
	keys := map[string]bool{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		keys[string(body)] = true
		mu.Unlock()
		io.WriteString(w, `{"data":[{"id":1}],"status":"success"}`)
	}))
	defer web.Close()
	address := strings.TrimPrefix(web.URL, "http://")
	workers, err := connect(rowByKey, &server{address: address}, 38, 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := drive(workers, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := disconnect(workers); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if l.Requests < 2 || l.PerSecond <= 0 || l.P99 < l.P50 || len(keys) < 2 {
		t.Fatalf("%+v with %d keys", l, len(keys))
	}
}

func TestConnectRefusesWrongAnswers(t *testing.T) {
	for body, want := range map[string]string{
		`{"data":[],"status":"success"}`:         "0 rows instead of 1",
		`{"data":[{"id":1}],"status":"error"}`:   `status is "error"`,
		`{"data":[{"id":1}],"status":"success"`:  "no JSON",
		`{"data":[{},{}],"status":"success"}   `: "2 rows instead of 1",
	} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }))
		_, err := connect(rowByKey, &server{address: strings.TrimPrefix(web.URL, "http://")}, 38, 1)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
		web.Close()
	}
}

func TestSameData(t *testing.T) {
	tests := []struct {
		a, b string
		rows int
		err  string
	}{
		{`{"data":[{"a":1,"b":null}],"status":"success"}`, `{"data":[ {"b":null, "a":1} ], "message":"x"}`, 1, ""},
		{`{"data":{"a":1}}`, `{"data":[{"a":1}]}`, 1, ""},
		{`{"data":[{"a":1}]}`, `{"data":[{"a":1.0}]}`, 1, "row 1 is"},
		{`{"data":[{"a":1},{"a":2}]}`, `{"data":[{"a":1}]}`, 2, "of 2 rows number 2"},
		{`{"data":[{"a":1}]}`, `{"data":[{"a":1}]}`, 2, "of 2 rows number 2"},
		{`{"status":"error"}`, `{"data":[]}`, 0, "begins with"},
	}
	for _, test := range tests {
		err := sameData(strings.NewReader(test.a), strings.NewReader(test.b), test.rows)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s and %s: %v, want %q", test.a, test.b, err, test.err)
		}
	}
}

func TestChooseCases(t *testing.T) {
	chosen, err := chooseCases("insert,rowsMillion", "2,4,32")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]int{}
	for _, c := range chosen {
		got[c.Name] = c.Connections
	}
	if diff := cmp.Diff(map[string][]int{"insert": {2, 4, 32}, "rowsMillion": {4}}, got); diff != "" {
		t.Error(diff)
	}
	for _, wrong := range [][2]string{{"rows", ""}, {"", "x"}, {"", "0"}} {
		if _, err := chooseCases(wrong[0], wrong[1]); err == nil {
			t.Errorf("%q was accepted", wrong)
		}
	}
}

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{3: {9, 3, 1}, 2.5: {4, 1, 2, 3}, 7: {7}} {
		if got := median(values); got != want {
			t.Errorf("median of %v is %v", values, got)
		}
	}
}

func TestReportMarksGoals(t *testing.T) {
	r := &report{Results: []*result{
		{Title: "kept", Ratio: 0.9, Goal: 0.85},
		{Title: "lost", Ratio: 0.5, Goal: 0.58},
		{Title: "free", Ratio: 0.1},
	}}
	var text strings.Builder
	if err := r.print(&text); err != nil {
		t.Fatal(err)
	}
	if r.missed() != 1 || strings.Count(text.String(), "MISS") != 1 || strings.Count(text.String(), "pass") != 1 {
		t.Errorf("%d missed in\n%s", r.missed(), text.String())
	}
	path, err := r.write(t.TempDir() + "/a/b.json")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || !json.Valid(text) {
		t.Errorf("%s %v", text, err)
	}
}

func TestServerThatEndsIsNotWaitedFor(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := start(t.Context(), "gone", "127.0.0.1:1", ".", "/bin/sh", "-c", "exit 1")
	if err != nil {
		t.Fatal(err)
	}
	<-s.exited
	if err := s.ready(context.Background(), rowByKey); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
