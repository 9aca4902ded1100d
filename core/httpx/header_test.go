package httpx

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

// TestHeadersOfAnswers: whatever a handler makes of a database's words, an answer has the
// headers that were set and no others.
func TestHeadersOfAnswers(t *testing.T) {
	for _, injected := range []string{"\r\nX-Injected: 1", "\nX-Injected: 1", "\rX-Injected: 1", "\r\n\r\nbody", "\x00", "\x85X-Injected: 1", "\u2028X-Injected: 1"} {
		var response Response
		_, url := start(t, Options{Routes: []Route{route("/", func(*Request) (*Response, error) { copied := response; return &copied, nil })}})
		for name, r := range map[string]Response{
			"length":   {Header: []sdk.Pair{{Name: "Content-length", Value: "4"}}},
			"encoding": {Header: []sdk.Pair{{Name: "transfer-encoding", Value: "chunked"}}},
			"end":      {Header: []sdk.Pair{{Name: "CONNECTION", Value: "upgrade"}, {Name: "Upgrade", Value: "h2c"}, {Name: "Trailer", Value: "X-Set"}}},
			"value":    {Header: []sdk.Pair{{Name: "X-Set", Value: "a" + injected}}},
			"name":     {Header: []sdk.Pair{{Name: "X-Set" + injected, Value: "a"}}},
			"type":     {ContentType: "text/plain" + injected},
		} {
			response = r
			response.Bytes = []byte("true body")
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			raw, err := io.ReadAll(conn)
			conn.Close()
			if err != nil {
				t.Fatal(err)
			}
			head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
			if body != "true body" || strings.Contains(head, "\nX-Injected") || strings.Contains(head, "\rX-Injected") || strings.Contains(head, "\x00") {
				t.Errorf("%s %q: the answer is %q", name, injected, raw)
			}
			response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(raw))), nil)
			if err != nil || response.ContentLength != 9 || !response.Close || response.Header.Get("Upgrade") != "" || len(response.Trailer) > 0 {
				t.Errorf("%s %q: %v in %q", name, injected, err, raw)
			}
		}
	}
}
