// Package admin is the operators' routes: what the gateway's plugins do, who may ask, and
// what can be done about it. All of them ask for the admin key.
package admin

import (
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/oplog"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Options are what the routes work on.
type Options struct {
	Host       *pluginhost.Host
	Registry   *registry.Registry
	Keys       *auth.Keyring
	Ledger     *ledger.Ledger
	Operations *oplog.Log
	Logger     hclog.Logger // gets a line for each change that an operator makes
}

// API is the operators' routes.
type API struct {
	host       *pluginhost.Host
	registry   *registry.Registry
	keys       *auth.Keyring
	ledger     *ledger.Ledger
	operations *oplog.Log
	actions    *ledger.Log[action]
	log        hclog.Logger
}

// New makes an API.
func New(o Options) *API {
	return &API{host: o.Host, registry: o.Registry, keys: o.Keys, ledger: o.Ledger, operations: o.Operations,
		actions: newActions(o.Ledger), log: o.Logger}
}

// Routes are the API's routes.
func (a *API) Routes() []httpx.Route {
	route := func(method, path, operation, summary string, handle httpx.Handle) httpx.Route {
		return adminapi.Route(a.log, method, path, operation, summary, handle)
	}
	change := func(method, path, operation, summary string, handle change) httpx.Route {
		return route(method, path, operation, summary, a.recorded(operation, handle))
	}
	operate := func(method, path, name, summary string, handle operation) httpx.Route {
		return route(method, path, name, summary, a.operated(name, handle))
	}
	return []httpx.Route{
		route("GET", "/admin/plugins", "list_plugins", "All plugins and how they are doing", a.listPlugins),
		operate("POST", "/admin/plugins/reload", "reload_plugins", "Look at the plugin directory at once", a.reloadPlugins),
		route("GET", "/admin/plugins/:name", "get_plugin", "How a plugin is doing", a.getPlugin),
		route("GET", "/admin/plugins/:name/logs", "plugin_logs", "The last lines that a plugin has printed", a.pluginLogs),
		operate("POST", "/admin/plugins/:name/restart", "restart_plugin", "Replace a plugin's process without a failed call", a.restartPlugin),
		operate("POST", "/admin/plugins/:name/release", "release_plugin", "Let a plugin in quarantine start again", a.releasePlugin),
		operate("POST", "/admin/plugins/:name/log-level", "set_plugin_log_level", "Choose which of a plugin's lines reach the log", a.setLogLevel),

		route("GET", "/admin/clients/statistics", "list_statistics", "What all clients have been asked", a.listStatistics),
		change("POST", "/admin/clients/statistics/refresh", "refresh_statistics", "Count the operation log anew", a.refreshStatistics),
		route("GET", "/admin/clients/:client_name/statistics", "client_statistics", "What a client has been asked, by table", a.clientStatistics),
		route("GET", "/admin/clients/:client_name/statistics/drilldown", "drilldown", "The operations of one kind on a client's table", a.drilldown),
		route("GET", "/admin/operations", "list_operations", "The operation log", a.listOperations),
		route("GET", "/admin/audit", "list_audit", "What operators have changed", a.listAudit),

		route("GET", "/admin/api-keys", "list_api_keys", "API keys", a.listKeys),
		change("POST", "/admin/api-keys", "create_api_key", "Make an API key, whose secret is shown once", a.createKey),
		route("GET", "/admin/api-keys/:id", "get_api_key", "An API key", a.getKey),
		change("PATCH", "/admin/api-keys/:id", "update_api_key", "Change an API key", a.updateKey),
		change("DELETE", "/admin/api-keys/:id", "delete_api_key", "Revoke an API key for good", a.deleteKey),
		route("GET", "/admin/api-key-rights", "list_rights", "Rights that API keys can have", a.listRights),
		change("POST", "/admin/api-key-rights", "create_right", "Add a right", a.createRight),
		change("PATCH", "/admin/api-key-rights/:id", "update_right", "Rename or describe a right", a.updateRight),
		change("DELETE", "/admin/api-key-rights/:id", "delete_right", "Remove a right, also from the keys that have it", a.deleteRight),
		route("GET", "/admin/rights/catalog", "rights_catalog", "The rights that the gateway knows", a.rightsCatalog),
		route("GET", "/admin/api-key-config", "get_api_key_config", "Where API keys are asked for", a.getKeyConfig),
		change("PUT", "/admin/api-key-config", "set_api_key_config", "Ask for API keys, or do not", a.setKeyConfig),
		route("GET", "/admin/api-key-clients", "list_api_key_clients", "Clients that decide themselves whether API keys are asked for", a.listKeyClients),
		change("PUT", "/admin/api-key-clients/:client_name", "set_api_key_client", "Ask for API keys for a client, or do not", a.setKeyClient),
		change("DELETE", "/admin/api-key-clients/:client_name", "delete_api_key_client", "Let the global setting decide about a client", a.deleteKeyClient),

		route("GET", "/admin/clients", "list_clients", "The client catalog, and how this gateway serves it", a.listClients),
		change("POST", "/admin/clients", "create_client", "Add a client, which serves at once", a.createClient),
		route("GET", "/admin/clients/:client_name", "get_client", "A client of the catalog", a.getClient),
		change("PATCH", "/admin/clients/:client_name", "update_client", "Change a client without a failed request", a.updateClient),
		change("DELETE", "/admin/clients/:client_name", "delete_client", "Delete a client; its name may be used again", a.deleteClient),
		change("PUT", "/admin/clients/:client_name/freeze", "freeze_client", "Refuse requests to a client, or serve them again", a.freezeClient),
		route("GET", "/admin/client-configs", "list_client_configs", "Clients' own settings", a.listConfigs),
		change("POST", "/admin/client-configs/seed-from-config", "seed_client_configs", "Store the settings that the configuration file gives its clients", a.seedConfigs),
		route("GET", "/admin/client-configs/:client_name", "get_client_config", "A client's settings and their sources", a.getConfig),
		change("PUT", "/admin/client-configs/:client_name", "set_client_config", "Give a client settings of its own, in the place of those before", a.setConfig),
		change("DELETE", "/admin/client-configs/:client_name", "delete_client_config", "Let a client have the settings of all again", a.deleteConfig),
		route("GET", "/clients", "client_names", "Names of the clients that serve", a.clientNames),
		route("GET", "/schema/clients", "client_names", "Names of the clients that serve", a.clientNames),
		route("GET", "/debug/schema", "debug_schema", "Whether the ledger has its tables and columns", a.debugSchema),
	}
}

// plugin returns the state of the plugin that the path names.
func (a *API) plugin(r *httpx.Request) (*pluginhost.Status, error) {
	name := adminapi.Param(r, "name")
	all := a.host.Plugins()
	names := make([]string, 0, len(all))
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
		names = append(names, all[i].Name)
	}
	e := sdk.E(sdk.NotFound, "unknown_plugin", "there is no plugin of this name").
		WithHint("GET /admin/plugins lists them; POST /admin/plugins/reload looks for new ones")
	if near := sqlbuild.NearestName(name, names); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	return nil, e
}
