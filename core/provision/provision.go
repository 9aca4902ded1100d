// Package provision applies the ledger's schema to PostgreSQL databases, so that gateways can
// keep their books there.
package provision

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
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
	// CanRegister fails if Register would, with the fields client_name, pg_uri and config.
	CanRegister func(ctx context.Context, name, uri string) error
	// Register makes a registered client of that name, or fails and makes none. left says what
	// was made for a client of the name before.
	Register func(r *httpx.Request, name, uri string) (left string, err error)
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
		adminapi.Route(a.options.Logger, "POST", "/admin/provision", "provision", "Make the ledger's tables in a PostgreSQL database", a.provision),
		adminapi.Route(a.options.Logger, "GET", "/admin/provision/status", "provision_status", "Which of the ledger's tables a client's database has", a.status),
	}
}

// order is the body of POST /admin/provision.
type order struct {
	uri, client  string
	register     bool
	registerName string
}

func readOrder(body []byte) (*order, error) {
	var uri, client, registerName adminapi.Field[string]
	var register adminapi.Field[bool]
	if err := adminapi.ReadClientBody(body, adminapi.Members{
		"uri":           uri.Nullable("want a PostgreSQL URI", adminapi.TextOf(0, 4096)),
		"client_name":   client.Nullable("want the name of a client", adminapi.TextOf(0, 255)),
		"register":      register.Nullable("want true or false", nil),
		"register_name": registerName.Nullable("want the name of a new client", adminapi.TextOf(0, 255)),
	}); err != nil {
		return nil, err
	}
	o := &order{uri.Or(""), client.Or(""), register.Or(false), registerName.Or("")}
	wrong := map[string]string{}
	switch {
	case o.uri != "" && o.client != "" && o.register:
		wrong["client_name"] = "leave it out, and send the name of the client to register as register_name"
	case (o.uri == "") == (o.client == ""):
		wrong["uri"] = "want either uri or client_name"
	case o.register && o.client != "":
		wrong["register"] = "the client is registered already"
	case o.register && o.registerName == "":
		wrong["register_name"] = "want the name of the client to register"
	}
	return o, adminapi.InvalidFields("invalid_body", "the request body has mistakes", wrong)
}

// provision makes what is missing of the tables. It can be repeated.
func (a *API) provision(r *httpx.Request) (*httpx.Response, error) {
	o, err := readOrder(r.Body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	target, err := a.target(ctx, o.uri, o.client)
	if err != nil {
		return nil, err
	}
	if o.register {
		if err := a.options.CanRegister(ctx, o.registerName, o.uri); err != nil {
			return nil, ordered(err)
		}
	}
	applied, err := target.Provision(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.audit(r, target, applied); err != nil {
		return nil, err
	}
	answer := map[string]any{"statements_executed": applied.Statements, "client": o.client, "registered": nil, "tables": applied.Tables}
	if o.client == "" {
		answer["client"] = target.String()
	}
	left := ""
	if o.register {
		if left, err = a.options.Register(r, o.registerName, o.uri); err != nil {
			return nil, ordered(err)
		}
		answer["client"], answer["registered"] = o.registerName, o.registerName
	}
	a.options.Logger.Info("a database has the ledger's tables", "database", target, "statements", applied.Statements,
		"registered", answer["registered"], "trace_id", r.ID)
	message := fmt.Sprintf("%s has the ledger's tables", target)
	if applied.Statements == 0 {
		message = fmt.Sprintf("%s had the ledger's tables already", target)
	}
	if left != "" {
		message += fmt.Sprintf("; what was made for the name %s before holds for the client: %s", o.registerName, left)
	}
	return adminapi.Success(200, message, answer)
}

// ordered is an error about a client to register in the words of an order.
func ordered(err error) error {
	e := sdk.AsError(err)
	if e.Reason == "client_exists" {
		told := *e
		told.Hint = "send another register_name, or provision the database of that client by client_name"
		return &told
	}
	var details struct{ Fields map[string]string }
	if json.Unmarshal(e.Details, &details) != nil || len(details.Fields) == 0 {
		return err
	}
	wrong := map[string]string{}
	for name, what := range details.Fields {
		switch name {
		case "client_name":
			name = "register_name"
		case "pg_uri", "config":
			name = "uri"
		}
		wrong[name] = what
	}
	return adminapi.InvalidFields(e.Reason, "the request body has mistakes", wrong)
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

func (a *API) audit(r *httpx.Request, target *ledger.Target, applied *ledger.Applied) error {
	audit := adminapi.Audit(r, "provision", target.String())
	audit.After = fmt.Appendf(nil, `{"statements_executed":%d}`, applied.Statements)
	err := a.options.Ledger.Change(r.Context(), "", audit, func(context.Context, *sql.Conn) error { return nil })
	if e := sdk.AsError(err); e != nil {
		told := *e
		told.Hint = "the tables have been made; repeat the request once the gateway's own database answers, so that its audit knows of it"
		return &told
	}
	return nil
}

// status tells which tables are there.
func (a *API) status(r *httpx.Request) (*httpx.Response, error) {
	name := r.Query("client_name")
	if name == "" {
		return nil, adminapi.InvalidFields("invalid_query", "the query parameters have mistakes", map[string]string{"client_name": "want the name of a client"})
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
	return adminapi.Success(200, message, map[string]any{"client_name": name, "provisioned": len(missing) == 0, "present_tables": present, "missing_tables": missing})
}
