// Package admin is the operators' routes: what the gateway's plugins do, and what can be
// done about it. All of them ask for the admin key.
package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Options are what the routes work on.
type Options struct {
	Host   *pluginhost.Host
	Logger hclog.Logger // gets a line for each change that an operator makes
}

// API is the operators' routes.
type API struct {
	host *pluginhost.Host
	log  hclog.Logger
}

// New makes an API.
func New(o Options) *API { return &API{host: o.Host, log: o.Logger} }

// Routes are the API's routes.
func (a *API) Routes() []httpx.Route {
	route := func(method, path, operation, summary string, handle httpx.Handle) httpx.Route {
		if method != "GET" {
			handle = a.audited(handle)
		}
		return httpx.Route{Method: method, Path: path, Guard: httpx.Admin, Operation: operation, Summary: summary, Handle: handle}
	}
	return []httpx.Route{
		route("GET", "/admin/plugins", "list_plugins", "All plugins and how they are doing", a.listPlugins),
		route("POST", "/admin/plugins/reload", "reload_plugins", "Look at the plugin directory at once", a.reloadPlugins),
		route("GET", "/admin/plugins/:name", "get_plugin", "How a plugin is doing", a.getPlugin),
		route("GET", "/admin/plugins/:name/logs", "plugin_logs", "The last lines that a plugin has printed", a.pluginLogs),
		route("POST", "/admin/plugins/:name/restart", "restart_plugin", "Replace a plugin's process without a failed call", a.restartPlugin),
		route("POST", "/admin/plugins/:name/release", "release_plugin", "Let a plugin in quarantine start again", a.releasePlugin),
		route("POST", "/admin/plugins/:name/log-level", "set_plugin_log_level", "Choose which of a plugin's lines reach the log", a.setLogLevel),
	}
}

// audited logs in one line who asked for a change and what became of it.
func (a *API) audited(handle httpx.Handle) httpx.Handle {
	return func(r *httpx.Request) (*httpx.Response, error) {
		response, err := handle(r)
		outcome := "done"
		if e := sdk.AsError(err); e != nil {
			outcome = "failed: " + strings.ReplaceAll(e.Reason+": "+e.Message, "\n", " ")
		}
		a.log.Info("an operator's request", "who", r.Remote()+" with the admin key", "what", r.Method()+" "+r.Path(),
			"outcome", outcome, "trace_id", r.ID)
		return response, err
	}
}

// unescaped is a path parameter as it was meant.
func unescaped(param string) string {
	if text, err := url.PathUnescape(param); err == nil {
		return text
	}
	return param
}

// plugin returns the state of the plugin that the path names.
func (a *API) plugin(r *httpx.Request) (*pluginhost.Status, error) {
	name := unescaped(r.Param("name"))
	all := a.host.Plugins()
	names := make([]string, 0, len(all))
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
		names = append(names, all[i].Name)
	}
	e := sdk.E(sdk.NotFound, "unknown_plugin", fmt.Sprintf("there is no plugin %q", name)).
		WithHint("GET /admin/plugins lists them; POST /admin/plugins/reload looks for new ones")
	if near := sqlbuild.NearestName(name, names); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	return nil, e
}

// readBody reads the members of a JSON object, each by the function of its name, whose error
// says what is wanted. It reports all mistakes together. No body is an empty object.
func readBody(body []byte, members map[string]func(json.RawMessage) error) error {
	var object map[string]json.RawMessage
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &object); err != nil || object == nil {
			return sdk.E(sdk.Invalid, "invalid_json", "the request body is not a JSON object")
		}
	}
	wrong := map[string]string{}
	known := slices.Sorted(maps.Keys(members))
	for _, name := range known {
		if err := members[name](object[name]); err != nil {
			wrong[name] = err.Error()
		}
	}
	for name := range object {
		if members[name] == nil {
			wrong[name] = "unknown field"
			if near := sqlbuild.NearestName(name, known); near != "" {
				wrong[name] += fmt.Sprintf("; did you mean %q?", near)
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	message := "the request body has mistakes"
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		message += fmt.Sprintf("; %s: %s", name, wrong[name])
	}
	e := sdk.E(sdk.Invalid, "invalid_body", message)
	details, err := json.Marshal(map[string]any{"fields": wrong})
	if err != nil {
		return err
	}
	e.Details = details
	return e
}

// noBody refuses a body with anything in it, which would be without effect.
func noBody(r *httpx.Request) error { return readBody(r.Body, nil) }
