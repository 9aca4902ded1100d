package apiregistry

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// Routes are the catalogue's routes: for programs below /registry, for operators below
// /admin/registry.
func (c *Catalogue) Routes() []httpx.Route {
	admin := func(method, path, operation, summary string, handle httpx.Handle) httpx.Route {
		return adminapi.Route(c.log, method, path, operation, summary, handle)
	}
	return []httpx.Route{
		{Method: "GET", Path: "/registry", Guard: httpx.Key, Operation: "list_registry", Summary: "The catalogue of APIs", Handle: c.public},
		{Method: "GET", Path: "/registry/:api_registry_id", Guard: httpx.Key, Operation: "get_registry_entry", Summary: "An entry of the catalogue of APIs", Handle: c.publicOne},
		admin("GET", "/admin/registry", "list_registry_entries", "The catalogue of APIs, by pages", c.list),
		admin("POST", "/admin/registry", "create_registry_entry", "Add an API to the catalogue", c.create),
		admin("GET", "/admin/registry/:api_registry_id", "get_registry_entry", "An entry of the catalogue of APIs", c.get),
		admin("PATCH", "/admin/registry/:api_registry_id", "update_registry_entry", "Change an entry of the catalogue of APIs", c.update),
		admin("DELETE", "/admin/registry/:api_registry_id", "delete_registry_entry", "Remove an API from the catalogue", c.delete),
	}
}

// loaded are the entries in memory.
func (c *Catalogue) loaded() ([]*Entry, error) {
	if entries := c.entries.Load(); entries != nil {
		return *entries, nil
	}
	return nil, &sdk.Error{Kind: sdk.Unavailable, Reason: "ledger_unavailable", Source: sdk.FromHost, Executed: sdk.ExecutedNo,
		Message: "the gateway has not read its catalogue of APIs yet", Hint: "try again", RetryAfter: time.Second}
}

// public answers with a bare array, as clients of the original server expect it.
func (c *Catalogue) public(*httpx.Request) (*httpx.Response, error) {
	entries, err := c.loaded()
	if err != nil {
		return nil, err
	}
	return httpx.JSON(entries)
}

// publicOne answers with an array of one entry.
func (c *Catalogue) publicOne(r *httpx.Request) (*httpx.Response, error) {
	entries, err := c.loaded()
	if err != nil {
		return nil, err
	}
	id := adminapi.Param(r, "api_registry_id")
	for _, e := range entries {
		if strings.EqualFold(e.ID, id) {
			return httpx.JSON([]*Entry{e})
		}
	}
	return nil, unknown()
}

func (c *Catalogue) list(r *httpx.Request) (*httpx.Response, error) {
	page, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	var total int64
	var entries []*Entry
	err = c.ledger.Read(r.Context(), func(ctx context.Context, conn *sql.Conn) (err error) {
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM api_registry WHERE deleted_at IS NULL").Scan(&total); err != nil {
			return err
		}
		entries, err = list(ctx, conn, "WHERE deleted_at IS NULL ORDER BY name, id LIMIT $1 OFFSET $2", page.Limit, page.Offset)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page.Answer("API", "entries", entries, total)
}

func (c *Catalogue) get(r *httpx.Request) (*httpx.Response, error) {
	var entry *Entry
	err := c.ledger.Read(r.Context(), func(ctx context.Context, conn *sql.Conn) (err error) {
		entry, err = find(ctx, conn, adminapi.Param(r, "api_registry_id"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer(200, "registry entry "+entry.Name, entry)
}

func answer(status int, message string, e *Entry) (*httpx.Response, error) {
	return adminapi.Success(status, message, map[string]any{"entry": e})
}

func (c *Catalogue) create(r *httpx.Request) (*httpx.Response, error) {
	var e edit
	fields := e.fields()
	fields["name"] = e.name.Required(nameRule, adminapi.TextOf(1, maxName))
	if err := adminapi.ReadBody(r.Body, fields); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	entry := &Entry{ID: id.String(), Metadata: json.RawMessage("{}"), CreatedAt: now, UpdatedAt: now}
	e.apply(entry)
	audit := adminapi.Audit(r, "registry.create", entry.ID)
	err = c.ledger.Change(r.Context(), ledger.Registry, audit, func(ctx context.Context, conn *sql.Conn) (err error) {
		if audit.After, err = json.Marshal(entry); err != nil {
			return err
		}
		_, err = conn.ExecContext(ctx, "INSERT INTO api_registry ("+columns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			entry.ID, entry.Name, entry.Description, entry.URL, entry.Version, string(entry.Metadata), entry.CreatedAt, entry.UpdatedAt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer(201, fmt.Sprintf("registry entry %s was created", entry.Name), entry)
}

func (c *Catalogue) update(r *httpx.Request) (*httpx.Response, error) {
	var e edit
	fields := e.fields()
	fields["name"] = e.name.Optional(nameRule, adminapi.TextOf(1, maxName))
	if err := adminapi.ReadBody(r.Body, fields); err != nil {
		return nil, err
	}
	entry, err := c.change(r, "registry.update", func(ctx context.Context, conn *sql.Conn, entry *Entry, audit *ledger.Audit) (err error) {
		e.apply(entry)
		if audit.After, err = json.Marshal(entry); err != nil {
			return err
		}
		_, err = conn.ExecContext(ctx, "UPDATE api_registry SET name = $2, description = $3, url = $4, version = $5, metadata = $6, updated_at = $7 WHERE id = $1",
			entry.ID, entry.Name, entry.Description, entry.URL, entry.Version, string(entry.Metadata), entry.UpdatedAt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer(200, fmt.Sprintf("registry entry %s was changed", entry.Name), entry)
}

func (c *Catalogue) delete(r *httpx.Request) (*httpx.Response, error) {
	if err := adminapi.NoBody(r); err != nil {
		return nil, err
	}
	entry, err := c.change(r, "registry.delete", func(ctx context.Context, conn *sql.Conn, entry *Entry, _ *ledger.Audit) error {
		_, err := conn.ExecContext(ctx, "UPDATE api_registry SET updated_at = $2, deleted_at = $2 WHERE id = $1", entry.ID, entry.UpdatedAt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer(200, fmt.Sprintf("registry entry %s was removed", entry.Name), entry)
}

// change changes the entry that the path names, by f.
func (c *Catalogue) change(r *httpx.Request, action string, f func(context.Context, *sql.Conn, *Entry, *ledger.Audit) error) (entry *Entry, err error) {
	id := adminapi.Param(r, "api_registry_id")
	audit := adminapi.Audit(r, action, id)
	err = c.ledger.Change(r.Context(), ledger.Registry, audit, func(ctx context.Context, conn *sql.Conn) (err error) {
		if entry, err = find(ctx, conn, id); err != nil {
			return err
		}
		if audit.Before, err = json.Marshal(entry); err != nil {
			return err
		}
		entry.UpdatedAt = time.Now().UTC().Truncate(time.Microsecond)
		return f(ctx, conn, entry, audit)
	})
	return entry, err
}

// edit is the body of a creation or change.
type edit struct {
	name, description, url, version adminapi.Field[string]
	metadata                        adminapi.Field[json.RawMessage]
}

const (
	maxName     = 255      // characters
	maxText     = 2000     // characters
	maxMetadata = 64 << 10 // bytes
	nameRule    = "want a name of at most 255 characters"
)

func (e *edit) fields() adminapi.Members {
	return adminapi.Members{
		"description": e.description.Nullable("want a text of at most 2000 characters, or null", adminapi.TextOf(0, maxText)),
		"url":         e.url.Nullable("want an http or https URL, a path of this gateway that begins with /, or null", isURL),
		"version":     e.version.Nullable("want a text of at most 255 characters, or null", adminapi.TextOf(0, maxName)),
		"metadata": e.metadata.Nullable("want an object of at most 64 KiB, or null", func(raw json.RawMessage) bool {
			return len(raw) <= maxMetadata && bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{"))
		}),
	}
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || !adminapi.TextOf(1, maxText)(s) || u.User != nil {
		return false
	}
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" || u.Scheme == "" && u.Host == "" && strings.HasPrefix(s, "/")
}

// apply changes the entry by the members that were sent.
func (e *edit) apply(entry *Entry) {
	if e.name.Sent {
		entry.Name = *e.name.Value
	}
	for _, text := range []struct {
		sent *adminapi.Field[string]
		to   **string
	}{{&e.description, &entry.Description}, {&e.url, &entry.URL}, {&e.version, &entry.Version}} {
		if text.sent.Sent {
			*text.to = text.sent.Value
		}
	}
	if e.metadata.Sent {
		entry.Metadata = e.metadata.Or(json.RawMessage("{}"))
	}
}
