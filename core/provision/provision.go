// Package provision applies the ledger's schema to PostgreSQL databases, so that gateways can
// keep their books there.
package provision

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Options are what the routes work with.
type Options struct {
	Ledger *ledger.Ledger // gets an audit row for each change
	Logger hclog.Logger   // gets a line for each
	// AllowedHosts are the hosts that a caller's URI may name: names, addresses, ranges of
	// addresses, folders of sockets.
	AllowedHosts []string
	// Client returns a registered client's URI, and the password if it is kept elsewhere.
	Client func(name string) (uri, password string, err error)
	// Register makes a registered client of that name, or fails and makes none; nil: there is
	// no catalog of clients.
	Register func(r *httpx.Request, name, uri string) error
}

// API is the routes.
type API struct {
	options Options
	hosts   *hosts
}

// timeout bounds a request: its connecting, its wait for others that provision the same
// database, and the statements.
const timeout = time.Minute

// New makes an API. It fails for AllowedHosts that are not hosts.
func New(o Options) (*API, error) {
	h, err := parseHosts(o.AllowedHosts)
	if err != nil {
		return nil, err
	}
	return &API{options: o, hosts: h}, nil
}

// Routes are the API's routes.
func (a *API) Routes() []httpx.Route {
	return []httpx.Route{
		{Method: "POST", Path: "/admin/provision", Guard: httpx.Admin, Operation: "provision", Summary: "Make the ledger's tables in a PostgreSQL database", Handle: a.provision},
		{Method: "GET", Path: "/admin/provision/status", Guard: httpx.Admin, Operation: "provision_status", Summary: "Which of the ledger's tables a client's database has", Handle: a.status},
	}
}

// order is the body of POST /admin/provision.
type order struct {
	uri, client  string
	register     bool
	registerName string
}

// readOrder reads a body. Members that it does not know are some client's own, unless the
// name looks like a misspelt one.
func readOrder(body []byte) (*order, error) {
	var o order
	known := map[string]any{"uri": &o.uri, "client_name": &o.client, "register": &o.register, "register_name": &o.registerName}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil || object == nil {
		return nil, sdk.E(sdk.Invalid, "invalid_json", "the request body is not a JSON object")
	}
	wrong := map[string]string{}
	names := slices.Sorted(maps.Keys(known))
	for name, value := range object {
		switch to := known[name].(type) {
		case nil:
			if near := sqlbuild.NearestName(name, names); near != "" {
				wrong[name] = fmt.Sprintf("unknown field; did you mean %q?", near)
			}
		case *bool:
			if json.Unmarshal(value, to) != nil {
				wrong[name] = "want true or false"
			}
		case *string:
			if json.Unmarshal(value, to) != nil || bytes.ContainsAny([]byte(*to), "\x00\r\n") {
				wrong[name] = "want a text"
			}
		}
	}
	if len(wrong) == 0 {
		switch {
		case (o.uri == "") == (o.client == ""):
			wrong["uri"] = "want either uri or client_name"
		case o.register && o.client != "":
			wrong["register"] = "the client is registered already"
		case o.register && o.registerName == "":
			wrong["register_name"] = "want the name of the client to register"
		}
	}
	return &o, invalid("invalid_body", "the request body has mistakes", wrong)
}

// invalid tells of each field what is wrong with it; nil if nothing is.
func invalid(code, message string, wrong map[string]string) error {
	if len(wrong) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		message += fmt.Sprintf("; %s: %s", name, wrong[name])
	}
	e := sdk.E(sdk.Invalid, code, message)
	details, err := json.Marshal(map[string]any{"fields": wrong})
	if err != nil {
		return err
	}
	e.Details = details
	return e
}

// provision makes what is missing of the tables. It can be repeated.
func (a *API) provision(r *httpx.Request) (*httpx.Response, error) {
	o, err := readOrder(r.Body)
	if err != nil {
		return nil, err
	}
	if o.register && a.options.Register == nil {
		return nil, sdk.E(sdk.Unsupported, "unsupported_register", "this gateway has no catalog of clients").WithHint("register the client in the configuration")
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	target, err := a.target(ctx, o.uri, o.client)
	if err != nil {
		return nil, a.logged(r, o.client, err)
	}
	applied, err := target.Provision(ctx)
	if err != nil {
		return nil, a.logged(r, target.String(), err)
	}
	answer := map[string]any{"statements_executed": applied.Statements, "client": o.client, "registered": nil, "tables": applied.Tables}
	if o.client == "" {
		answer["client"] = target.String()
	}
	if o.register {
		if err := a.options.Register(r, o.registerName, o.uri); err != nil {
			return nil, a.logged(r, target.String(), err)
		}
		answer["client"], answer["registered"] = o.registerName, o.registerName
	}
	if err := a.audit(r, target, answer); err != nil {
		return nil, a.logged(r, target.String(), err)
	}
	a.options.Logger.Info("the ledger's tables were made", "who", actor(r), "database", target, "statements", applied.Statements,
		"registered", answer["registered"], "trace_id", r.ID)
	message := fmt.Sprintf("%s has the ledger's tables", target)
	if applied.Statements == 0 {
		message = fmt.Sprintf("%s had the ledger's tables already", target)
	}
	return success(message, answer)
}

// target is the database that a request means: by a URI, whose hosts have to be allowed, or
// by a registered client.
func (a *API) target(ctx context.Context, uri, client string) (*ledger.Target, error) {
	if client != "" {
		uri, password, err := a.options.Client(client)
		if err != nil {
			return nil, err
		}
		return ledger.ClientTarget(uri, password)
	}
	target, err := ledger.CallersTarget(uri)
	if err != nil {
		return nil, err
	}
	addresses, err := a.hosts.resolve(ctx, target.Hosts())
	if err != nil {
		return nil, err
	}
	target.Pin(addresses)
	return target, nil
}

func actor(r *httpx.Request) string { return r.Remote() + " with the admin key" }

// logged logs what came of an order that failed.
func (a *API) logged(r *httpx.Request, what string, err error) error {
	e := sdk.AsError(err)
	a.options.Logger.Warn("provisioning failed", "who", actor(r), "database", what, "code", e.Reason,
		"error", strings.ReplaceAll(e.Message, "\n", " "), "details", e.Log, "trace_id", r.ID)
	return err
}

func (a *API) audit(r *httpx.Request, target *ledger.Target, answer map[string]any) error {
	after, err := json.Marshal(map[string]any{"statements_executed": answer["statements_executed"], "registered": answer["registered"]})
	if err != nil {
		return err
	}
	err = a.options.Ledger.Change(r.Context(), "", &ledger.Audit{Actor: actor(r), Action: "provision", Target: target.String(), TraceID: r.ID, After: after},
		func(context.Context, *sql.Conn) error { return nil })
	var e *sdk.Error
	if errors.As(err, &e) {
		told := *e
		told.Hint = "the tables have been made; repeat the request once the gateway's own database answers, so that its audit knows of it"
		return &told
	}
	return err
}

// status tells which tables are there.
func (a *API) status(r *httpx.Request) (*httpx.Response, error) {
	name := r.Query("client_name")
	if name == "" {
		return nil, invalid("invalid_query", "the query parameters have mistakes", map[string]string{"client_name": "want the name of a client"})
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	target, err := a.target(ctx, "", name)
	if err != nil {
		return nil, err
	}
	present, missing, err := target.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	message := fmt.Sprintf("client %s has %d of the ledger's %d tables", name, len(present), len(present)+len(missing))
	return success(message, map[string]any{"client_name": name, "provisioned": len(missing) == 0, "present_tables": present, "missing_tables": missing})
}

// success answers with the envelope. The members of data are at the top level too, where
// clients of the original server look for them.
func success(message string, data map[string]any) (*httpx.Response, error) {
	envelope := maps.Clone(data)
	envelope["status"], envelope["message"], envelope["data"] = "success", message, data
	return httpx.JSON(envelope)
}
