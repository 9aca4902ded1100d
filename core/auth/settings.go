package auth

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// Settings say where API keys are asked for.
type Settings struct {
	Global  GlobalSetting   `json:"global"`
	Clients []ClientSetting `json:"clients"` // that differ from the global setting, or may, by name
}

// GlobalSetting is what holds for clients without a setting of their own.
type GlobalSetting struct {
	Enforce bool       `json:"enforce_api_keys"`
	Updated *time.Time `json:"updated_at"` // null: never
}

// ClientSetting is a client's own.
type ClientSetting struct {
	Client  string    `json:"client_name"`
	Enforce bool      `json:"enforce_api_keys"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
}

// Forced reports whether the configuration asks for keys everywhere, whatever Settings say.
func (k *Keyring) Forced() bool { return k.enforce }

// Settings reads where API keys are asked for.
func (k *Keyring) Settings(ctx context.Context) (s Settings, err error) {
	err = k.ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		s, err = readSettings(ctx, c)
		return err
	})
	return s, err
}

func readSettings(ctx context.Context, c *sql.Conn) (Settings, error) {
	s := Settings{Clients: []ClientSetting{}}
	err := c.QueryRowContext(ctx, "SELECT enforce_api_keys, updated_at FROM api_key_config WHERE id = 1").Scan(&s.Global.Enforce, &s.Global.Updated)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s, err
	}
	s.Global.Updated = utc(s.Global.Updated)
	s.Clients, err = clientSettings(ctx, c, "ORDER BY client_name")
	return s, err
}

func clientSettings(ctx context.Context, c *sql.Conn, where string, args ...any) ([]ClientSetting, error) {
	list := []ClientSetting{}
	err := each(ctx, c, func(scan func(...any) error) error {
		var own ClientSetting
		err := scan(&own.Client, &own.Enforce, &own.Created, &own.Updated)
		own.Created, own.Updated = own.Created.UTC(), own.Updated.UTC()
		list = append(list, own)
		return err
	}, "SELECT client_name, enforce_api_keys, created_at, updated_at FROM api_key_client_config "+where, args...)
	return list, err
}

// Enforce sets whether keys are asked for where a client has no setting of its own.
func (k *Keyring) Enforce(ctx context.Context, audit *ledger.Audit, on bool) (s Settings, err error) {
	err = k.ledger.Change(ctx, ledger.Keys, audit, func(ctx context.Context, c *sql.Conn) error {
		before, err := readSettings(ctx, c)
		if err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, `INSERT INTO api_key_config (id, enforce_api_keys, updated_at) VALUES (1, $1, $2)
			ON CONFLICT (id) DO UPDATE SET enforce_api_keys = excluded.enforce_api_keys, updated_at = excluded.updated_at`, on, k.now().UTC()); err != nil {
			return err
		}
		if s, err = readSettings(ctx, c); err != nil {
			return err
		}
		return picture(audit, "api_key_config", before.Global, s.Global)
	})
	return s, err
}

// EnforceClient gives a client a setting of its own.
func (k *Keyring) EnforceClient(ctx context.Context, audit *ledger.Audit, client string, on bool) (own ClientSetting, err error) {
	err = k.ledger.Change(ctx, ledger.Keys, audit, func(ctx context.Context, c *sql.Conn) error {
		before, err := clientSettings(ctx, c, "WHERE client_name = $1", client)
		if err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, `INSERT INTO api_key_client_config (client_name, enforce_api_keys, created_at, updated_at) VALUES ($1, $2, $3, $3)
			ON CONFLICT (client_name) DO UPDATE SET enforce_api_keys = excluded.enforce_api_keys, updated_at = excluded.updated_at`, client, on, k.now().UTC()); err != nil {
			return err
		}
		after, err := clientSettings(ctx, c, "WHERE client_name = $1", client)
		if err != nil {
			return err
		}
		own = after[0]
		if len(before) == 0 {
			return picture(audit, "api_key_client_config/"+client, nil, own)
		}
		return picture(audit, "api_key_client_config/"+client, before[0], own)
	})
	return own, err
}

// UnenforceClient takes a client's own setting away.
func (k *Keyring) UnenforceClient(ctx context.Context, audit *ledger.Audit, client string) error {
	return k.ledger.Change(ctx, ledger.Keys, audit, func(ctx context.Context, c *sql.Conn) error {
		before, err := clientSettings(ctx, c, "WHERE client_name = $1", client)
		if err != nil {
			return err
		}
		if len(before) == 0 {
			return sdk.E(sdk.NotFound, "unknown_client_setting", "the client has no setting of its own").
				WithHint("GET /admin/api-key-clients lists those that have one")
		}
		if _, err := c.ExecContext(ctx, "DELETE FROM api_key_client_config WHERE client_name = $1", client); err != nil {
			return err
		}
		return picture(audit, "api_key_client_config/"+client, before[0], nil)
	})
}
