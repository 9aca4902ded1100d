package auth

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Record is an API key as operators see it.
type Record struct {
	ID          string     `json:"id"`
	PublicID    string     `json:"public_id"`
	Name        string     `json:"name"`
	Description *string    `json:"description"`
	Client      *string    `json:"client_name"` // null: any
	Expires     *time.Time `json:"expires_at"`  // null: never
	Active      bool       `json:"is_active"`
	LastUsed    *time.Time `json:"last_used_at"`
	Created     time.Time  `json:"created_at"`
	Updated     time.Time  `json:"updated_at"`
	Rights      []string   `json:"rights"` // names, sorted
}

// Spec is what an operator chooses about a key.
type Spec struct {
	Name        string
	Description *string
	Client      *string
	Expires     *time.Time
	Active      bool
	Rights      []string
}

const recordColumns = "api_keys_id, public_id, name, description, client_name, expires_at, is_active, last_used_at, created_at, updated_at"

// Keys lists API keys, the newest first, from offset on.
func (k *Keyring) Keys(ctx context.Context, limit, offset int) (list []Record, total int64, err error) {
	err = k.ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		if err := c.QueryRowContext(ctx, "SELECT count(*) FROM api_keys WHERE deleted_at IS NULL").Scan(&total); err != nil {
			return err
		}
		list, err = records(ctx, c, "WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2", limit, offset)
		return err
	})
	return list, total, err
}

// Key finds an API key.
func (k *Keyring) Key(ctx context.Context, id string) (found Record, err error) {
	err = k.ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		found, err = oneRecord(ctx, c, id)
		return err
	})
	return found, err
}

// granted reads the ids of keys and the names of their rights.
const granted = `SELECT k.api_keys_id, r.name FROM api_key_right_grants g JOIN api_keys k ON k.id = g.api_key_id JOIN api_key_rights r ON r.id = g.right_id`

func records(ctx context.Context, c *sql.Conn, where string, args ...any) ([]Record, error) {
	list, at, ids := []Record{}, map[string]int{}, []any{}
	if err := each(ctx, c, func(scan func(...any) error) error {
		r := Record{Rights: []string{}}
		err := scan(&r.ID, &r.PublicID, &r.Name, &r.Description, &r.Client, &r.Expires, &r.Active, &r.LastUsed, &r.Created, &r.Updated)
		r.Created, r.Updated = r.Created.UTC(), r.Updated.UTC()
		r.Expires, r.LastUsed = utc(r.Expires), utc(r.LastUsed)
		at[r.ID] = len(list)
		list, ids = append(list, r), append(ids, r.ID)
		return err
	}, "SELECT "+recordColumns+" FROM api_keys "+where, args...); err != nil || len(list) == 0 {
		return list, err
	}
	places := make([]string, len(ids))
	for i := range ids {
		places[i] = "$" + strconv.Itoa(i+1)
	}
	err := each(ctx, c, func(scan func(...any) error) error {
		var id, right string
		err := scan(&id, &right)
		list[at[id]].Rights = append(list[at[id]].Rights, right)
		return err
	}, granted+" WHERE k.api_keys_id IN ("+strings.Join(places, ", ")+")", ids...)
	for i := range list {
		slices.Sort(list[i].Rights)
	}
	return list, err
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// isID reports whether a text is an id as newID writes it: PostgreSQL fails on others.
func isID(text string) bool { return len(text) == 36 && uuid.Validate(text) == nil }

func oneRecord(ctx context.Context, c *sql.Conn, id string) (Record, error) {
	unknown := sdk.E(sdk.NotFound, "unknown_api_key", "there is no API key of this id").WithHint("GET /admin/api-keys lists them")
	if !isID(id) {
		return Record{}, unknown
	}
	list, err := records(ctx, c, "WHERE api_keys_id = $1 AND deleted_at IS NULL", id)
	if err == nil && len(list) == 0 {
		return Record{}, unknown
	}
	if err != nil {
		return Record{}, err
	}
	return list[0], nil
}

// CreateKey makes a key. text is the whole of it, which nobody can be told again.
func (k *Keyring) CreateKey(ctx context.Context, audit *ledger.Audit, spec Spec) (text string, r Record, err error) {
	m := mint()
	id, now := newID(), k.now().UTC()
	err = k.ledger.Change(ctx, ledger.Keys, audit, func(ctx context.Context, c *sql.Conn) error {
		if err := nameIsFree(ctx, c, spec.Name, id); err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, `INSERT INTO api_keys (api_keys_id, public_id, name, description, client_name, key_salt, key_hash, expires_at, is_active, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)`,
			id, m.public, spec.Name, spec.Description, spec.Client, m.salt, m.hash, utc(spec.Expires), spec.Active, now); err != nil {
			return err
		}
		if err := grant(ctx, c, id, spec.Rights, now); err != nil {
			return err
		}
		if r, err = oneRecord(ctx, c, id); err != nil {
			return err
		}
		return picture(audit, "api_keys/"+id, nil, r)
	})
	return m.text, r, err
}

// UpdateKey changes what edit changes of a key. edit gets the key as it is, and its error ends
// the change. Rights that edit replaces are replaced.
func (k *Keyring) UpdateKey(ctx context.Context, audit *ledger.Audit, id string, edit func(Record, *Spec) error) (r Record, err error) {
	err = k.ledger.Change(ctx, ledger.Keys, audit, func(ctx context.Context, c *sql.Conn) error {
		before, err := oneRecord(ctx, c, id)
		if err != nil {
			return err
		}
		spec := Spec{before.Name, before.Description, before.Client, before.Expires, before.Active, before.Rights}
		if err := edit(before, &spec); err != nil {
			return err
		}
		now := k.now().UTC()
		if err := nameIsFree(ctx, c, spec.Name, id); err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, `UPDATE api_keys SET name = $1, description = $2, client_name = $3, expires_at = $4, is_active = $5, updated_at = $6 WHERE api_keys_id = $7`,
			spec.Name, spec.Description, spec.Client, utc(spec.Expires), spec.Active, now, id); err != nil {
			return err
		}
		if !slices.Equal(spec.Rights, before.Rights) {
			if _, err := c.ExecContext(ctx, "DELETE FROM api_key_right_grants WHERE api_key_id = (SELECT id FROM api_keys WHERE api_keys_id = $1)", id); err != nil {
				return err
			}
			if err := grant(ctx, c, id, spec.Rights, now); err != nil {
				return err
			}
		}
		if r, err = oneRecord(ctx, c, id); err != nil {
			return err
		}
		return picture(audit, "api_keys/"+id, before, r)
	})
	return r, err
}

// DeleteKey revokes a key for good. Its row stays, for the logs that name it.
func (k *Keyring) DeleteKey(ctx context.Context, audit *ledger.Audit, id string) error {
	return k.ledger.Change(ctx, ledger.Keys, audit, func(ctx context.Context, c *sql.Conn) error {
		before, err := oneRecord(ctx, c, id)
		if err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, "UPDATE api_keys SET deleted_at = $1, updated_at = $1, is_active = $2 WHERE api_keys_id = $3", k.now().UTC(), false, id); err != nil {
			return err
		}
		return picture(audit, "api_keys/"+id, before, nil)
	})
}

// nameIsFree refuses a name that another key has. Changes of keys follow each other, so
// nobody else takes it meanwhile.
func nameIsFree(ctx context.Context, c *sql.Conn, name, id string) error {
	var n int
	if err := c.QueryRowContext(ctx, "SELECT count(*) FROM api_keys WHERE name = $1 AND api_keys_id <> $2 AND deleted_at IS NULL", name, id).Scan(&n); err != nil || n == 0 {
		return err
	}
	return sdk.E(sdk.Conflict, "api_key_exists", fmt.Sprintf("there is an API key named %q already", name)).
		WithHint("choose another name, or change that key: PATCH /admin/api-keys/{id}")
}

// grant gives a key rights by name.
func grant(ctx context.Context, c *sql.Conn, id string, rights []string, now time.Time) error {
	if len(rights) == 0 {
		return nil
	}
	known, err := rightNames(ctx, c)
	if err != nil {
		return err
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(rights))) {
		if !slices.Contains(known, name) {
			return unknownRight(name, known)
		}
		if _, err := c.ExecContext(ctx, `INSERT INTO api_key_right_grants (api_key_id, right_id, created_at)
			VALUES ((SELECT id FROM api_keys WHERE api_keys_id = $1), (SELECT id FROM api_key_rights WHERE name = $2), $3)`, id, name, now); err != nil {
			return err
		}
	}
	return nil
}

func unknownRight(name string, known []string) error {
	wrong := fmt.Sprintf("there is no right %q", name)
	if near := sqlbuild.NearestName(name, known); near != "" {
		wrong += fmt.Sprintf("; did you mean %q?", near)
	}
	details, err := json.Marshal(map[string]any{"fields": map[string]string{"rights": wrong}})
	if err != nil {
		return err
	}
	e := sdk.E(sdk.Invalid, "unknown_right", "rights: "+wrong).
		WithHint("GET /admin/api-key-rights lists them; POST /admin/api-key-rights adds one")
	e.Details = details
	return e
}
