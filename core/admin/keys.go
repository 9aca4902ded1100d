package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// What a body has to say of a key.
const (
	wantName        = "want a text of 1 to 100 characters"
	wantDescription = "want a text of at most 1000 characters, or null"
	wantClient      = "want a client's name, 1 to 128 letters, digits, dots, dashes and underscores, or null for any"
	wantExpiry      = "want a time to come in RFC 3339, such as 2030-01-31T12:00:00Z, or null for never"
	wantAnyExpiry   = "want a time in RFC 3339, such as 2030-01-31T12:00:00Z, from 1970 to 9999, or null for never"
	wantRights      = "want a list of at most 200 names of rights"
	wantSwitch      = "want true or false"
)

// isExpiry accepts times whose year has four digits in UTC too, as JSON takes no others. The
// beginning of the calendar is none: it stands for no time at all.
func isExpiry(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1970 && year <= 9999
}

// keyBody is what a request says of a key.
type keyBody struct {
	name, description, client adminapi.Field[string]
	expires                   adminapi.Field[time.Time]
	active                    adminapi.Field[bool]
	rights                    adminapi.Field[[]string]
	updated                   adminapi.Field[time.Time] // of the record that is changed
}

// read reads the body. A key that limits who may use it by addresses or a number of requests,
// as the original server knows them, is refused: one without these limits is another key. isClient
// says what can be a client's name.
func (b *keyBody) read(r *httpx.Request, create bool, isClient func(string) bool) error {
	name := b.name.Optional(wantName, adminapi.TextOf(1, 100))
	expires := b.expires.Nullable(wantAnyExpiry, isExpiry) // an expired key can be sent back whole
	if create {
		name = b.name.Required(wantName, adminapi.TextOf(1, 100))
		expires = b.expires.Nullable(wantExpiry, func(t time.Time) bool { return t.After(time.Now()) && isExpiry(t) })
	}
	known := adminapi.Members{
		"name":        name,
		"description": b.description.Nullable(wantDescription, adminapi.TextOf(0, 1000)),
		"client_name": b.client.Nullable(wantClient, isClient),
		"expires_at":  expires,
		"is_active":   b.active.Optional(wantSwitch, nil),
		"created_at":  adminapi.Shown,
		"updated_at":  b.updated.Nullable(adminapi.WantUpdated, nil),
		"rights": b.rights.Optional(wantRights, func(names []string) bool {
			for _, name := range names {
				if !adminapi.TextOf(1, 100)(name) {
					return false
				}
			}
			return len(names) <= 200
		}),
	}
	for _, name := range []string{"virgin_mode", "virgin_until_n_requests", "max_whitelist_ips", "ip_whitelist", "ip_blacklist"} {
		known[name] = notSupported
	}
	// What a key's members are called elsewhere: without them a key could do more, or for longer,
	// than was meant.
	for name, others := range map[string][]string{
		"client_name": {"client", "client_id", "clients"},
		"expires_at":  {"expires", "expiry", "expires_in", "expires_on", "expiration", "expiration_date", "expire", "ttl", "valid_until"},
		"is_active":   {"active", "enabled", "is_enabled", "disabled", "inactive", "revoked"},
		"rights":      {"right", "scopes", "scope", "permissions", "grants", "roles", "role"},
	} {
		for _, other := range others {
			known[other] = adminapi.Instead(name)
		}
	}
	if err := adminapi.ReadClientBody(r.Body, known); err != nil {
		return err
	}
	if !b.name.Sent && !b.description.Sent && !b.client.Sent && !b.expires.Sent && !b.active.Sent && !b.rights.Sent {
		return sdk.E(sdk.Invalid, "invalid_body", "the request body changes nothing of the key").
			WithHint("send at least one of name, description, client_name, expires_at, is_active and rights")
	}
	return nil
}

// notSupported refuses a member that asks for something which is not there.
func notSupported(raw json.RawMessage) error {
	switch string(raw) {
	case "", "null", "false", "0", "[]":
		return nil
	}
	return errors.New("not supported: leave it out")
}

func (a *API) listKeys(r *httpx.Request) (*httpx.Response, error) {
	p, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	list, total, err := a.keys.Keys(r.Context(), p.Limit, p.Offset)
	if err != nil {
		return nil, err
	}
	return p.Answer("API key", "api_keys", list, total)
}

func (a *API) getKey(r *httpx.Request) (*httpx.Response, error) {
	id, err := keyParam(r)
	if err != nil {
		return nil, err
	}
	record, err := a.keys.Key(r.Context(), id)
	if err != nil {
		return nil, err
	}
	return adminapi.Success(200, fmt.Sprintf("API key %s", record.Name), map[string]any{"record": record})
}

func (a *API) createKey(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	var b keyBody
	if err := b.read(r, true, a.registry.IsName); err != nil {
		return nil, err
	}
	text, record, err := a.keys.CreateKey(r.Context(), audit, auth.Spec{Name: b.name.Or(""), Description: b.description.Value, Client: b.client.Value,
		Expires: b.expires.Value, Active: b.active.Or(true), Rights: b.rights.Or(nil)})
	if err != nil {
		return nil, err
	}
	return adminapi.Success(201, "API key created; it cannot be shown again", map[string]any{"api_key": text, "record": record})
}

func (a *API) updateKey(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	id, err := keyParam(r)
	if err != nil {
		return nil, err
	}
	var b keyBody
	if err := b.read(r, false, a.registry.IsName); err != nil {
		return nil, err
	}
	record, err := a.keys.UpdateKey(r.Context(), audit, id, func(before auth.Record, s *auth.Spec) error {
		if err := adminapi.Unchanged(b.updated.Value, before.Updated, "api_key_changed", "API key"); err != nil {
			return err
		}
		s.Name, s.Active, s.Rights = b.name.Or(s.Name), b.active.Or(s.Active), b.rights.Or(s.Rights)
		if b.description.Sent {
			s.Description = b.description.Value
		}
		if b.client.Sent {
			s.Client = b.client.Value
		}
		if b.expires.Sent {
			s.Expires = b.expires.Value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return adminapi.Success(200, "API key changed", map[string]any{"record": record})
}

func (a *API) deleteKey(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	id, err := keyParam(r)
	if err != nil {
		return nil, err
	}
	if err := adminapi.NoBody(r); err != nil {
		return nil, err
	}
	if err := a.keys.DeleteKey(r.Context(), audit, id); err != nil {
		return nil, err
	}
	return adminapi.Success(200, "API key revoked", map[string]any{"id": id})
}

// keyParam is the id of a key that the path names.
func keyParam(r *httpx.Request) (string, error) {
	id := adminapi.Param(r, "id")
	if strings.HasPrefix(id, "ath_") {
		return "", adminapi.InvalidFields("invalid_path", "the path has mistakes", map[string]string{
			"id": "want the id of the key's record, not the key: GET /admin/api-keys shows it beside the public_id, which is what a key has between ath_ and the point"})
	}
	return id, nil
}

func (a *API) getKeyConfig(r *httpx.Request) (*httpx.Response, error) {
	settings, err := a.keys.Settings(r.Context())
	if err != nil {
		return nil, err
	}
	return a.keyConfig(settings, "")
}

// keyConfig answers with where keys are asked for; done is what has been changed.
func (a *API) keyConfig(s auth.Settings, done string) (*httpx.Response, error) {
	message := "API keys are not asked for"
	switch {
	case a.keys.Forced():
		message = "API keys are asked for everywhere: api.enforce_api_keys is set, whatever is set here"
	case s.Global.Enforce:
		message = "API keys are asked for"
	}
	return adminapi.Success(200, done+message, map[string]any{"global": s.Global, "clients": s.Clients, "forced": a.keys.Forced()})
}

// readSwitch reads {"enforce_api_keys": true}.
func readSwitch(r *httpx.Request) (on bool, err error) {
	var enforce adminapi.Field[bool]
	err = adminapi.ReadClientBody(r.Body, adminapi.Members{"enforce_api_keys": enforce.Required(wantSwitch, nil)})
	return enforce.Or(false), err
}

func (a *API) setKeyConfig(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	on, err := readSwitch(r)
	if err != nil {
		return nil, err
	}
	settings, err := a.keys.Enforce(r.Context(), audit, on)
	if err != nil {
		return nil, err
	}
	return a.keyConfig(settings, "done: ")
}

func (a *API) listKeyClients(r *httpx.Request) (*httpx.Response, error) {
	p, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	settings, err := a.keys.Settings(r.Context())
	if err != nil {
		return nil, err
	}
	all := settings.Clients
	from := min(p.Offset, len(all))
	return p.Answer("client setting", "clients", all[from:min(from+p.Limit, len(all))], int64(len(all)))
}

func (a *API) setKeyClient(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	client, err := a.clientParam(r)
	if err != nil {
		return nil, err
	}
	on, err := readSwitch(r)
	if err != nil {
		return nil, err
	}
	own, err := a.keys.EnforceClient(r.Context(), audit, client, on)
	if err != nil {
		return nil, err
	}
	message := fmt.Sprintf("client %s asks for no API key", client)
	if own.Enforce {
		message = fmt.Sprintf("client %s asks for an API key", client)
	}
	return adminapi.Success(200, message, map[string]any{"client": own})
}

func (a *API) deleteKeyClient(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	client, err := a.clientParam(r)
	if err != nil {
		return nil, err
	}
	if err := adminapi.NoBody(r); err != nil {
		return nil, err
	}
	if err := a.keys.UnenforceClient(r.Context(), audit, client); err != nil {
		return nil, err
	}
	return adminapi.Success(200, fmt.Sprintf("the global setting decides about client %s", client), map[string]any{"client_name": client})
}

// clientParam is the client that the path names.
func (a *API) clientParam(r *httpx.Request) (string, error) {
	name := adminapi.Param(r, "client_name")
	if !a.registry.IsName(name) {
		return "", adminapi.InvalidFields("invalid_path", "the path has mistakes", map[string]string{"client_name": "want a client's name"})
	}
	return name, nil
}
