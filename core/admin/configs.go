package admin

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/sdk"
)

// lineBreaks are the control characters that a description may hold.
var lineBreaks = strings.NewReplacer("\n", " ", "\r", " ", "\t", " ")

// clientConfig is a client's settings in an answer: what is stored for it, and what holds.
type clientConfig struct {
	*registry.ConfigRecord
	Effective map[string]registry.Effective `json:"effective"`
}

func (a *API) clientConfig(record *registry.ConfigRecord) clientConfig {
	return clientConfig{record, a.registry.Effective(record.ClientName)}
}

func (a *API) listConfigs(r *httpx.Request) (*httpx.Response, error) {
	p, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	records, total, err := a.registry.Configs(r.Context(), p.Limit, p.Offset)
	if err != nil {
		return nil, err
	}
	configs := make([]clientConfig, len(records))
	for i, record := range records {
		configs[i] = a.clientConfig(record)
	}
	return p.Answer("client config", "client_configs", configs, int64(total))
}

func (a *API) getConfig(r *httpx.Request) (*httpx.Response, error) {
	record, err := a.registry.Config(r.Context(), client(r))
	if err != nil {
		return nil, err
	}
	return a.answerConfig(record, "settings of client "+record.ClientName)
}

// answerConfig has one client's settings.
func (a *API) answerConfig(record *registry.ConfigRecord, message string) (*httpx.Response, error) {
	if runtime := a.registry.Runtime(record.ClientName); runtime != nil && runtime.Pending != "" {
		message += "; the client serves as before, as they cannot be used yet: " + runtime.Pending
	}
	return adminapi.Success(200, message, map[string]any{"client_config": a.clientConfig(record)})
}

// setConfig reads an object of settings, or one with such an object in its member config.
func (a *API) setConfig(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	var body map[string]json.RawMessage
	if err := json.Unmarshal(r.Body, &body); err != nil || body == nil {
		return nil, sdk.E(sdk.Invalid, "invalid_json", "the request body is not a JSON object")
	}
	if inner, ok := body["config"]; ok {
		delete(body, "client_name") // as answers have it
		if len(body) > 1 {
			return nil, adminapi.InvalidFields("invalid_body", "the request body has mistakes", map[string]string{"config": "send the settings either in config or beside each other, not both"})
		}
		body = nil
		if err := json.Unmarshal(inner, &body); err != nil || body == nil {
			return nil, adminapi.InvalidFields("invalid_body", "the request body has mistakes", map[string]string{"config": "want an object of settings"})
		}
	}
	record, err := a.registry.SetConfig(r.Context(), audit, client(r), body)
	if err != nil {
		return nil, err
	}
	return a.answerConfig(record, fmt.Sprintf("client %s has %s of its own", record.ClientName, count(len(record.Config), "setting")))
}

// deleteConfig succeeds for a client without settings too.
func (a *API) deleteConfig(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	name := client(r)
	existed, err := a.registry.DeleteConfig(r.Context(), audit, name)
	if err != nil {
		return nil, err
	}
	message := fmt.Sprintf("client %s has the settings of all again", name)
	if !existed {
		message = fmt.Sprintf("client %s had no settings of its own", name)
	}
	return adminapi.Success(200, message, map[string]any{"client_name": name, "deleted": existed})
}

func (a *API) seedConfigs(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	if err := adminapi.ReadClientBody(r.Body, nil); err != nil {
		return nil, err
	}
	seeded, skipped, err := a.registry.SeedConfigs(r.Context(), audit)
	if err != nil {
		return nil, err
	}
	message := count(len(seeded), "client") + " of the configuration file got settings"
	if len(skipped) > 0 {
		message += "; skipped: " + strings.Join(slices.Sorted(maps.Keys(skipped)), ", ")
	}
	return adminapi.Success(200, message, map[string]any{"seeded": seeded, "count": len(seeded), "skipped": skipped})
}
