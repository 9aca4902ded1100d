package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/sdk"
)

// Bounds of a client's texts, in characters.
const (
	maxDescription = 2000
	maxURI         = 8192
	maxJSON        = 64 << 10 // bytes
)

// client is the path's client.
func client(r *httpx.Request) string { return adminapi.Param(r, "client_name") }

// listClients answers the catalog's rows, and beside them how this gateway serves each client.
func (a *API) listClients(r *httpx.Request) (*httpx.Response, error) {
	p, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	clients, total, err := a.registry.Records(r.Context(), r.Query("include_deleted") == "true", p.Limit, p.Offset)
	if err != nil {
		return nil, err
	}
	runtime := []*registry.Runtime{}
	for _, c := range clients {
		if served := a.registry.Runtime(c.ClientName); served != nil {
			runtime = append(runtime, served)
		}
	}
	return adminapi.Success(200, count(total, "client"), map[string]any{"clients": clients, "runtime": runtime,
		"limit": p.Limit, "offset": p.Offset, "total": total})
}

func (a *API) getClient(r *httpx.Request) (*httpx.Response, error) {
	record, err := a.registry.Record(r.Context(), client(r))
	if err != nil {
		return nil, err
	}
	return a.answerClient(200, record, fmt.Sprintf("client %s", record.ClientName), nil)
}

// answerClient has a client's row, and how it is served.
// left, if not nil, is what the ledger has by its name.
func (a *API) answerClient(status int, record *registry.Record, message string, left *registry.References) (*httpx.Response, error) {
	runtime := a.registry.Runtime(record.ClientName)
	if runtime != nil && runtime.Pending != "" {
		message += "; it serves as before, as the change cannot be used yet: " + runtime.Pending
	} else if runtime != nil && runtime.State == registry.Active && !runtime.Available {
		message += "; it is not available yet: " + runtime.Error
	}
	data := map[string]any{"client": record, "runtime": runtime}
	if left != nil {
		data["references"] = left
	}
	return adminapi.Success(status, message, data)
}

// clientEdit reads what a body says of a client. Members of earlier answers do no harm.
func clientEdit(r *httpx.Request) (name adminapi.Field[string], edit registry.Edit, err error) {
	var description, uri, variable, backend adminapi.Field[string]
	var active, frozen adminapi.Field[bool]
	var updated adminapi.Field[time.Time]
	var config, metadata adminapi.Field[json.RawMessage]
	object := func(v json.RawMessage) bool {
		v = bytes.TrimSpace(v)
		return len(v) > 0 && v[0] == '{' && len(v) <= maxJSON
	}
	err = adminapi.ReadClientBody(r.Body, adminapi.Members{
		"client_name":    name.Optional("want the client's name as text", nil),
		"description":    description.Nullable(fmt.Sprintf("want a text of at most %d characters, or null", maxDescription), prose),
		"pg_uri":         uri.Nullable("want a connection URI as text, such as postgres://user:password@host:5432/database, or null", adminapi.TextOf(0, maxURI)),
		"pg_uri_env_var": variable.Nullable("want the name of an environment variable, or null", adminapi.TextOf(0, 256)),
		"backend":        backend.Optional("want the name of a plugin, such as sqlite or postgres", adminapi.TextOf(1, 128)),
		"config":         config.Nullable("want an object of the backend's own keys, of at most 64 KiB, or null", object),
		"is_active":      active.Optional("want true or false", nil),
		"is_frozen":      frozen.Optional("want true or false", nil),
		"created_at":     adminapi.Shown,
		"deleted_at":     adminapi.Shown,
		"updated_at":     updated.Nullable(adminapi.WantUpdated, nil),
		"active":         adminapi.Instead("is_active"),
		"enabled":        adminapi.Instead("is_active"),
		"metadata":       metadata.Nullable("want an object of at most 64 KiB, or null", object),
	})
	return name, registry.Edit{UpdatedAt: updated.Value, IsFrozen: edited(frozen),
		Description: edited(description), PGURI: edited(uri), PGURIEnvVar: edited(variable), Backend: edited(backend),
		Config: edited(config), IsActive: edited(active), Metadata: edited(metadata),
	}, err
}

func edited[T any](f adminapi.Field[T]) registry.Field[T] {
	return registry.Field[T]{Set: f.Sent, Value: f.Value}
}

// prose accepts texts of several lines.
func prose(s string) bool {
	return adminapi.TextOf(0, maxDescription)(lineBreaks.Replace(s))
}

func (a *API) createClient(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	name, edit, err := clientEdit(r)
	if err != nil {
		return nil, err
	}
	if name.Value == nil {
		return nil, adminapi.InvalidFields("invalid_body", "the request body has mistakes", map[string]string{"client_name": "want the client's name as text"})
	}
	record, left, err := a.registry.Create(r.Context(), audit, *name.Value, edit)
	if err != nil {
		return nil, err
	}
	message := fmt.Sprintf("client %s was created", record.ClientName)
	if text := left.String(); text != "" {
		message += "; what was made for its name before holds for it: " + text
	}
	return a.answerClient(201, record, message, left)
}

func (a *API) updateClient(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	name, edit, err := clientEdit(r)
	if err != nil {
		return nil, err
	}
	if name.Or(client(r)) != client(r) {
		return nil, adminapi.InvalidFields("invalid_body", "the request body has mistakes",
			map[string]string{"client_name": "a client keeps its name: create another, and delete this one"})
	}
	switch {
	case edit.Empty():
		return nil, sdk.E(sdk.Invalid, "invalid_body", "the request body changes nothing of the client").
			WithHint("send at least one of description, pg_uri, pg_uri_env_var, backend, config, is_active, is_frozen and metadata")
	case edit.FreezesAlone():
		audit.Action = "freeze_client" // whichever route it is done by
	}
	record, err := a.registry.Update(r.Context(), audit, client(r), edit)
	if err != nil {
		return nil, err
	}
	return a.answerClient(200, record, fmt.Sprintf("client %s was changed", record.ClientName), nil)
}

func (a *API) deleteClient(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	record, left, err := a.registry.Delete(r.Context(), audit, client(r))
	if err != nil {
		return nil, err
	}
	message := fmt.Sprintf("client %s was deleted", record.ClientName)
	if text := left.String(); text != "" {
		message += "; still there, for whatever client gets its name next: " + text
	}
	return a.answerClient(200, record, message, left)
}

// freezeClient reads {"is_frozen": true}.
func (a *API) freezeClient(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	var frozen adminapi.Field[bool]
	if err := adminapi.ReadClientBody(r.Body, adminapi.Members{"is_frozen": frozen.Required("want true or false", nil)}); err != nil {
		return nil, err
	}
	did := "frozen"
	if !*frozen.Value {
		did = "thawed"
	}
	record, err := a.registry.SetFrozen(r.Context(), audit, client(r), *frozen.Value)
	if err != nil {
		return nil, err
	}
	return a.answerClient(200, record, fmt.Sprintf("client %s was %s", record.ClientName, did), nil)
}

// clientNames answers the names alone, of the clients that are active.
func (a *API) clientNames(*httpx.Request) (*httpx.Response, error) {
	names, err := a.registry.ActiveNames()
	if err != nil {
		return nil, err
	}
	return adminapi.Success(200, count(len(names), "client"), map[string]any{"clients": names})
}
