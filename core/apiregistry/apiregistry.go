// Package apiregistry is a small catalogue of the APIs that run beside or behind the gateway,
// for programs that look for them. Operators keep it.
package apiregistry

import (
	"context"
	"database/sql"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// Entry is an API.
type Entry struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	URL         *string         `json:"url"`
	Version     *string         `json:"version"`
	Metadata    json.RawMessage `json:"metadata"` // an object
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
}

// Catalogue holds the entries, in memory too.
type Catalogue struct {
	ledger  *ledger.Ledger
	log     hclog.Logger
	entries atomic.Pointer[[]*Entry] // nil until they have been loaded
}

// New makes a Catalogue that follows the ledger.
func New(l *ledger.Ledger, logger hclog.Logger) *Catalogue {
	c := &Catalogue{ledger: l, log: logger}
	l.Follow(ledger.Registry, func(ctx context.Context, conn *sql.Conn) error {
		entries, err := list(ctx, conn, "WHERE deleted_at IS NULL ORDER BY name, id")
		if err == nil {
			c.entries.Store(&entries)
		}
		return err
	})
	return c
}

const columns = "id, name, description, url, version, metadata, created_at, updated_at"

// list returns entries as the end of the query chooses them.
func list(ctx context.Context, c *sql.Conn, where string, args ...any) ([]*Entry, error) {
	rows, err := c.QueryContext(ctx, "SELECT "+columns+" FROM api_registry "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	entries := []*Entry{}
	for rows.Next() {
		e := &Entry{}
		var metadata string
		if err := rows.Scan(&e.ID, &e.Name, &e.Description, &e.URL, &e.Version, &metadata, &e.CreatedAt, &e.UpdatedAt); err != nil {
			return nil, err
		}
		e.Metadata, e.CreatedAt, e.UpdatedAt = json.RawMessage(metadata), e.CreatedAt.UTC(), e.UpdatedAt.UTC()
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// find returns the entry of an id, which may be any text.
func find(ctx context.Context, c *sql.Conn, id string) (*Entry, error) {
	if parsed, err := uuid.Parse(id); err == nil {
		entries, err := list(ctx, c, "WHERE id = $1 AND deleted_at IS NULL", parsed.String())
		if err != nil {
			return nil, err
		}
		if len(entries) == 1 {
			return entries[0], nil
		}
	}
	return nil, unknown()
}

func unknown() *sdk.Error {
	return sdk.E(sdk.NotFound, "unknown_registry_entry", "there is no registry entry of this id").WithHint("GET /registry lists them")
}
