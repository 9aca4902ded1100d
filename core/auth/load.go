package auth

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"
)

// load reads everything that deciding takes. The first time it has the rights added that
// the gateway asks for, where they are missing: on another connection, as its own only reads.
func (k *Keyring) load(ctx context.Context, c *sql.Conn) error {
	if !k.seeded {
		if err := k.ledger.Read(ctx, k.seed); err != nil {
			return err
		}
		k.seeded = true
	}
	s := &state{keys: map[string]*key{}, clients: map[string]bool{}}
	byID := map[string]*key{}
	if err := each(ctx, c, func(scan func(...any) error) error {
		key := &key{}
		var client *string
		var expires *time.Time
		var hash string
		if err := scan(&key.ID, &key.PublicID, &key.Name, &client, &key.salt, &hash, &expires, &key.active); err != nil {
			return err
		}
		if n, err := hex.Decode(key.hash[:], []byte(hash[:min(len(hash), 2*sha256.Size)])); err != nil || n != sha256.Size {
			return nil // it was made by another program, and nothing can match it
		}
		if client != nil {
			key.Client = *client
		}
		if expires != nil {
			key.expires = *expires
		}
		s.keys[key.PublicID], byID[key.ID] = key, key
		return nil
	}, "SELECT id, public_id, name, client_name, key_salt, key_hash, expires_at, is_active FROM api_keys WHERE deleted_at IS NULL"); err != nil {
		return err
	}
	if err := each(ctx, c, func(scan func(...any) error) error {
		var id, right string
		err := scan(&id, &right)
		if key := byID[id]; key != nil {
			key.rights = append(key.rights, right)
		}
		return err
	}, "SELECT g.api_key_id, r.name FROM api_key_right_grants g JOIN api_key_rights r ON r.id = g.right_id"); err != nil {
		return err
	}
	for _, key := range s.keys {
		slices.Sort(key.rights)
		granted, err := json.Marshal(append([]string{}, key.rights...))
		if err != nil {
			return err
		}
		key.granted = string(granted)
	}
	settings, err := readSettings(ctx, c)
	if err != nil {
		return err
	}
	s.global, s.anywhere, s.everywhere = settings.Global.Enforce, settings.Global.Enforce, settings.Global.Enforce
	for _, own := range settings.Clients {
		s.clients[own.Client] = own.Enforce
		s.anywhere = s.anywhere || own.Enforce
		s.everywhere = s.everywhere && own.Enforce
	}
	k.state.Store(s)
	return nil
}

// each calls f for every row of a query.
func each(ctx context.Context, c *sql.Conn, f func(scan func(...any) error) error, query string, args ...any) error {
	rows, err := c.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// seed adds the rights that the gateway asks for.
func (k *Keyring) seed(ctx context.Context, c *sql.Conn) error {
	now := k.now().UTC()
	for _, right := range catalogue {
		if _, err := c.ExecContext(ctx, `INSERT INTO api_key_rights (id, name, description, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
			ON CONFLICT (name) DO NOTHING`, newID(), right.Name, right.Description, now); err != nil {
			return err
		}
	}
	return nil
}

// newID makes an id; those made later sort later.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// picture is what something looked like, for the audit. None of what is pictured here is
// secret.
func picture(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // texts, times and flags can always be written
	}
	return b
}
