package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// ConfigRecord is a row of client_configs: the settings that a client has values of its own
// for. CreatedAt and UpdatedAt are nil for a client without a row.
type ConfigRecord struct {
	ClientName string     `json:"client_name"`
	Config     Overrides  `json:"config"`
	CreatedAt  *time.Time `json:"created_at"`
	UpdatedAt  *time.Time `json:"updated_at"`
}

const configColumns = `client_name, config, created_at, updated_at`

func scanConfig(scan func(...any) error) (*ConfigRecord, error) {
	c := &ConfigRecord{}
	var config string
	if err := scan(&c.ClientName, &config, &c.CreatedAt, &c.UpdatedAt); err != nil {
		return nil, err
	}
	for _, at := range []*time.Time{c.CreatedAt, c.UpdatedAt} {
		if at != nil {
			*at = at.UTC()
		}
	}
	if err := json.Unmarshal([]byte(config), &c.Config); err != nil || c.Config == nil {
		c.Config = Overrides{}
	}
	return c, nil
}

func selectConfigs(ctx context.Context, c *sql.Conn, where string, args ...any) ([]*ConfigRecord, error) {
	found, err := c.QueryContext(ctx, `SELECT `+configColumns+` FROM client_configs `+where, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	records := []*ConfigRecord{}
	for found.Next() {
		record, err := scanConfig(found.Scan)
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, found.Err()
}

// loadOverrides reads all overrides and applies them. One that this version does not know is
// left out.
func (r *Registry) loadOverrides(ctx context.Context, c *sql.Conn) error {
	records, err := selectConfigs(ctx, c, ``)
	if err != nil {
		return err
	}
	overrides := map[string]Overrides{}
	for _, record := range records {
		own, wrong := ReadOverrides(record.Config)
		for _, name := range slices.Sorted(maps.Keys(wrong)) {
			r.options.Logger.Warn("a setting of a client has no effect", "client", record.ClientName, "setting", name, "problem", wrong[name])
		}
		overrides[record.ClientName] = own
	}
	r.arrange(func() { r.overrides, r.haveTuning = overrides, true })
	return nil
}

// Configs lists the overrides that are stored, by client, and counts them.
func (r *Registry) Configs(ctx context.Context, limit, offset int) (records []*ConfigRecord, total int, err error) {
	err = r.options.Ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		if err := c.QueryRowContext(ctx, `SELECT count(*) FROM client_configs`).Scan(&total); err != nil {
			return err
		}
		records, err = selectConfigs(ctx, c, `ORDER BY client_name LIMIT $1 OFFSET $2`, limit, offset)
		return err
	})
	return records, total, err
}

// Config is the overrides of a client, perhaps none. Error: NotFound "unknown_client".
func (r *Registry) Config(ctx context.Context, name string) (*ConfigRecord, error) {
	if err := r.known(name); err != nil {
		return nil, err
	}
	var record *ConfigRecord
	err := r.options.Ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) (err error) {
		record, err = selectConfig(ctx, c, name)
		return err
	})
	if err == nil && record == nil {
		record = &ConfigRecord{ClientName: name, Config: Overrides{}}
	}
	return record, err
}

func selectConfig(ctx context.Context, c *sql.Conn, name string) (*ConfigRecord, error) {
	record, err := scanConfig(c.QueryRowContext(ctx, `SELECT `+configColumns+` FROM client_configs WHERE client_name = $1`, name).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return record, err
}

// known fails for a client that is not there, or was deleted.
func (r *Registry) known(name string) error {
	c := (*r.clients.Load())[name]
	if c == nil && !r.loaded.Load() {
		return errNotLoaded()
	}
	if c == nil || c.state() == Deleted {
		return r.errUnknown(name, nil)
	}
	return nil
}

// SetConfig stores the overrides of a client in the place of those before; null is none. When
// it returns they have been tried once. Errors: NotFound "unknown_client", Invalid
// "invalid_body".
func (r *Registry) SetConfig(ctx context.Context, a *ledger.Audit, name string, members map[string]json.RawMessage) (*ConfigRecord, error) {
	if err := r.known(name); err != nil {
		return nil, err
	}
	own, wrong := ReadOverrides(members)
	if len(wrong) > 0 {
		return nil, errFields(wrong)
	}
	if err := r.checkOverrides(ctx, name, own); err != nil {
		return nil, err
	}
	config, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	return r.writeConfig(ctx, a, name, func(ctx context.Context, c *sql.Conn) error {
		now := time.Now().UTC()
		_, err := c.ExecContext(ctx, `INSERT INTO client_configs (client_name, config, created_at, updated_at) VALUES ($1, $2, $3, $3)
			ON CONFLICT (client_name) DO UPDATE SET config = excluded.config, updated_at = excluded.updated_at`, name, string(config), now)
		return err
	})
}

// checkOverrides asks the backend's plugin whether the client's config fits with own.
func (r *Registry) checkOverrides(ctx context.Context, name string, own Overrides) error {
	r.mu.Lock()
	d, _ := r.connection(name)
	r.mu.Unlock()
	if wrong := r.misfits(ctx, &d, own); len(wrong) > 0 {
		return errFields(wrong)
	}
	return nil
}

// misfits asks the backend's plugin whether a client's config fits with own, and returns what is
// wrong with which settings.
func (r *Registry) misfits(ctx context.Context, d *Definition, own Overrides) map[string]string {
	var plugins []string
	for i := range settings {
		if _, ok := own[settings[i].Name]; ok && settings[i].ofPlugin() {
			plugins = append(plugins, settings[i].Name)
		}
	}
	if len(plugins) == 0 || d.Config == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, firstTry)
	defer cancel()
	_, err := r.options.Host.CheckConfig(ctx, d.Backend, own.merge(d.Config))
	if err == nil || sdk.AsError(err).Kind != sdk.Invalid {
		return nil // it is open whether it fits
	}
	wrong := map[string]string{}
	known := r.options.Host.ConfigDefaults(d.Backend)
	for _, setting := range plugins {
		if _, has := known[setting]; !has {
			wrong[setting] = fmt.Sprintf("the backend %s of the client has no such setting", d.Backend)
		}
	}
	if len(wrong) == 0 {
		wrong[strings.Join(plugins, ", ")] = sdk.AsError(err).Message
	}
	return wrong
}

// DeleteConfig removes the overrides of a client and reports whether there were any. Error:
// NotFound "unknown_client" for what is no client's name.
func (r *Registry) DeleteConfig(ctx context.Context, a *ledger.Audit, name string) (existed bool, err error) {
	if !r.IsName(name) {
		return false, r.errUnknown(name, nil)
	}
	_, err = r.writeConfig(ctx, a, name, func(ctx context.Context, c *sql.Conn) error {
		result, err := c.ExecContext(ctx, `DELETE FROM client_configs WHERE client_name = $1`, name)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		existed = n > 0
		return err
	})
	return existed, err
}

// writeConfig changes the overrides of a client in one transaction with its audit line, and
// returns them as they are then; nil if there are none.
func (r *Registry) writeConfig(ctx context.Context, a *ledger.Audit, name string, f func(context.Context, *sql.Conn) error) (*ConfigRecord, error) {
	var after *ConfigRecord
	a.Target = name
	err := r.options.Ledger.Change(ctx, ledger.Configs, a, func(ctx context.Context, c *sql.Conn) error {
		before, err := selectConfig(ctx, c, name)
		if err != nil {
			return err
		}
		if err := f(ctx, c); err != nil {
			return err
		}
		if after, err = selectConfig(ctx, c, name); err != nil {
			return err
		}
		for _, side := range []struct {
			record *ConfigRecord
			to     *[]byte
		}{{before, &a.Before}, {after, &a.After}} {
			if side.record == nil {
				continue
			}
			if *side.to, err = json.Marshal(side.record.Config); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	limited, done := context.WithTimeout(ctx, firstTry)
	defer done()
	r.Settled(limited, name)
	return after, nil
}

// SeedConfigs stores, for each client of the file that has no overrides yet, the settings that
// the file gives it, and returns the names of the clients. Those whose connection is not the
// file's are skipped, and told with the reason.
func (r *Registry) SeedConfigs(ctx context.Context, a *ledger.Audit) (seeded []string, skipped map[string]string, err error) {
	skipped = map[string]string{}
	settings := map[string]Overrides{}
	for name, d := range r.file {
		own := r.fileSettings(name)
		if own == nil {
			continue
		}
		if wrong := r.misfits(ctx, &d, own); len(wrong) > 0 {
			skipped[name] = errFields(wrong).Message
			continue
		}
		settings[name] = own
	}
	err = r.options.Ledger.Change(ctx, ledger.Configs, a, func(ctx context.Context, c *sql.Conn) error {
		seeded = []string{}
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			row, err := selectRow(ctx, c, name)
			if err != nil {
				return err
			}
			if row != nil && row.connects() {
				skipped[name] = "its connection is not the file's, but one of the catalog"
				continue
			}
			config, err := json.Marshal(settings[name])
			if err != nil {
				return err
			}
			now := time.Now().UTC()
			result, err := c.ExecContext(ctx, `INSERT INTO client_configs (client_name, config, created_at, updated_at) VALUES ($1, $2, $3, $3)
				ON CONFLICT (client_name) DO NOTHING`, name, string(config), now)
			if err != nil {
				return err
			}
			if n, err := result.RowsAffected(); err != nil {
				return err
			} else if n > 0 {
				seeded = append(seeded, name)
			}
		}
		a.Target = strings.Join(seeded, ", ")
		return nil
	})
	return seeded, skipped, err
}

// fileSettings are the settings among the keys of a file client's config. A client whose config
// cannot be read has none: nil.
func (r *Registry) fileSettings(name string) Overrides {
	var given map[string]json.RawMessage
	if json.Unmarshal(r.file[name].Config, &given) != nil {
		return nil
	}
	own := Overrides{}
	for i := range settings {
		v, ok := given[settings[i].Name]
		if !ok || !settings[i].ofPlugin() {
			continue
		}
		if value, err := settings[i].read(v); err == nil {
			own[settings[i].Name] = value
		}
	}
	return own
}
