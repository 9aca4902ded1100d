package adminapi

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// Success answers with the envelope of the status. The object data is in data, and its
// members are at the top level too, where clients of the original server look for them.
func Success(status int, message string, data map[string]any) (*httpx.Response, error) {
	envelope := maps.Clone(data)
	envelope["status"], envelope["message"], envelope["data"] = "success", message, data
	response, err := httpx.JSON(envelope)
	if err == nil {
		response.Status = status
	}
	return response, err
}

// The bounds of a page.
const (
	defaultLimit = 100
	maxLimit     = 500
)

// Page is the part of a list that is asked for.
type Page struct{ Limit, Offset int }

// ReadPage reads the query parameters limit (1 to 500, default 100) and offset.
func ReadPage(r *httpx.Request) (Page, error) {
	p := Page{Limit: defaultLimit}
	wrong := map[string]string{}
	number := func(name string, to *int, low, high int) {
		if !r.HasQuery(name) {
			return
		}
		n, err := strconv.Atoi(r.Query(name))
		if err != nil || n < low || n > high {
			wrong[name] = fmt.Sprintf("want a whole number from %d to %d", low, high)
		}
		*to = n
	}
	number("limit", &p.Limit, 1, maxLimit)
	number("offset", &p.Offset, 0, math.MaxInt32)
	return p, InvalidFields("invalid_query", "the query parameters have mistakes", wrong)
}

// Answer has the page's rows under name, and limit, offset and total, the number of rows of
// the whole list.
func (p Page) Answer(what, name string, rows any, total int64) (*httpx.Response, error) {
	message := strconv.FormatInt(total, 10) + " " + what
	if total != 1 {
		message += "s"
	}
	return Success(200, message, map[string]any{name: rows, "limit": p.Limit, "offset": p.Offset, "total": total})
}

// Param is a path parameter as it was meant.
func Param(r *httpx.Request, name string) string {
	if text, err := url.PathUnescape(r.Param(name)); err == nil {
		return text
	}
	return r.Param(name)
}

// Route makes an operators' route. One that changes something is logged in one line, and an
// answer that leaves open whether it did is not to be repeated blindly.
func Route(log hclog.Logger, method, path, operation, summary string, handle httpx.Handle) httpx.Route {
	changes := method != "GET"
	if changes {
		handle = logged(log, handle)
	}
	return httpx.Route{Method: method, Path: path, Guard: httpx.Admin, Operation: operation, Summary: summary, Writes: changes, Handle: handle}
}

// Audit is the line of the audit log for a request of an operator.
func Audit(r *httpx.Request, action, target string) *ledger.Audit {
	return &ledger.Audit{Actor: Actor(r), Action: action, Target: target, TraceID: r.ID}
}

// logged logs in one line who asked for a change and what became of it.
func logged(log hclog.Logger, handle httpx.Handle) httpx.Handle {
	return func(r *httpx.Request) (*httpx.Response, error) {
		response, err := handle(r)
		log.Info("an operator's request", "who", Actor(r), "what", r.Method()+" "+r.Place(), "outcome", Outcome(err), "trace_id", r.ID)
		return response, err
	}
}

// Actor is who asks, for logs and the audit.
func Actor(r *httpx.Request) string { return r.Remote() + " with the admin key" }

// Outcome is what became of a request, in one line. A key that a message repeats, because it was
// sent where something else was meant, is left out.
func Outcome(err error) string {
	e := sdk.AsError(err)
	if e == nil {
		return "done"
	}
	return "failed: " + apiKey.ReplaceAllString(Clean(strings.ReplaceAll(e.Reason+": "+e.Message, "\n", " ")), "ath_…")
}

var apiKey = regexp.MustCompile(`ath_[a-z0-9]+\.[A-Za-z0-9_-]*`)
