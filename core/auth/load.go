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

	"github.com/athena-gateway/athena/core/ledger"
)

// load reads everything that deciding takes.
func (k *Keyring) load(ctx context.Context, c *sql.Conn) error {
	k.seed(ctx)
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
	}, "SELECT api_keys_id, public_id, name, client_name, key_salt, key_hash, expires_at, is_active FROM api_keys WHERE deleted_at IS NULL"); err != nil {
		return err
	}
	if err := each(ctx, c, func(scan func(...any) error) error {
		var id, right string
		err := scan(&id, &right)
		if key := byID[id]; key != nil {
			key.rights = append(key.rights, right)
		}
		return err
	}, granted); err != nil {
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

// seedTime bounds a try to add what every ledger has: loading does not wait for it.
const seedTime = 5 * time.Second

// seed adds what every ledger has and this one lacks: the rights that the gateway knows, and
// the global setting. One that cannot be written serves as it is; run tries again. It takes a
// connection of its own, as that of a load only reads.
func (k *Keyring) seed(ctx context.Context) {
	k.seeding.Lock()
	defer k.seeding.Unlock()
	if k.seeded {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, seedTime)
	defer cancel()
	err := k.ledger.Read(ctx, k.addMissing)
	if k.seeded = err == nil; k.seeded || ctx.Err() == context.Canceled {
		return
	}
	if problem := err.Error(); problem != k.seedProblem {
		k.log.Warn("rights that the gateway knows could not be added to the ledger; keys work as they are, and it is tried again", "error", err)
		k.seedProblem = problem
	}
}

func (k *Keyring) addMissing(ctx context.Context, c *sql.Conn) error {
	now := k.now().UTC()
	known, err := rightNames(ctx, c)
	if err != nil {
		return err
	}
	for _, right := range catalogue {
		if slices.Contains(known, right.Name) {
			continue
		}
		if _, err := c.ExecContext(ctx, `INSERT INTO api_key_rights (api_key_rights_id, name, description, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
			ON CONFLICT DO NOTHING`, newID(), right.Name, right.Description, now); err != nil {
			return err
		}
	}
	settings, err := readSettings(ctx, c)
	if err != nil || settings.Global.Updated != nil {
		return err
	}
	_, err = c.ExecContext(ctx, "INSERT INTO api_key_config (id, enforce_api_keys, updated_at) VALUES (1, $1, $2) ON CONFLICT DO NOTHING", false, now)
	return err
}

// newID makes an id; those made later sort later.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// picture completes the audit row of a change: what was changed, and what it looked like
// before and afterwards, nil where there was nothing. None of it is secret.
func picture(audit *ledger.Audit, target string, before, after any) (err error) {
	audit.Target = target
	if before != nil {
		if audit.Before, err = json.Marshal(before); err != nil {
			return err
		}
	}
	if after != nil {
		audit.After, err = json.Marshal(after)
	}
	return err
}
