package registry

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// The catalog is the table athena_clients of the ledger. How it and the file go together:
// the row decides about the state (active, frozen, deleted) and the description, the file
// about the connection, unless an operator has given the row one: pg_uri_env_var, pg_uri or
// config. Rows without a connection whose client has left the file are not served.

// Record is a row of the catalog as answers show it: without secrets.
type Record struct {
	ID                     string          `json:"id"`
	ClientName             string          `json:"client_name"`
	Description            *string         `json:"description"`
	Backend                string          `json:"backend"`
	Config                 json.RawMessage `json:"config"`
	PGURI                  *string         `json:"pg_uri"`
	PGURIEnvVar            *string         `json:"pg_uri_env_var"`
	ConfigURITemplate      *string         `json:"config_uri_template"`
	Source                 string          `json:"source"`
	IsActive               bool            `json:"is_active"`
	IsFrozen               bool            `json:"is_frozen"`
	LastSyncedFromConfigAt *time.Time      `json:"last_synced_from_config_at"`
	LastSeenAt             *time.Time      `json:"last_seen_at"`
	Metadata               json.RawMessage `json:"metadata"`
	CreatedAt              time.Time       `json:"created_at"`
	UpdatedAt              time.Time       `json:"updated_at"`
	DeletedAt              *time.Time      `json:"deleted_at"`
}

// row is a Record and what is stored of its secrets.
type row struct {
	Record
	uri, config string // "": there is none
}

// The sources of clients.
const (
	fromFile     = "config"
	fromDatabase = "database"
)

// uriBackend is the backend of clients that are given as pg_uri or pg_uri_env_var.
const uriBackend = "postgres"

func (w *row) state() State {
	switch {
	case w.DeletedAt != nil:
		return Deleted
	case w.IsFrozen:
		return Frozen
	case !w.IsActive:
		return Inactive
	}
	return Active
}

// connects reports whether the row has a connection of its own.
func (w *row) connects() bool { return w.uri != "" || w.config != "" || w.PGURIEnvVar != nil }

// connectsAs reports whether the rows have the same connection.
func (w *row) connectsAs(other *row) bool {
	return w.uri == other.uri && w.config == other.config && text(w.PGURIEnvVar) == text(other.PGURIEnvVar)
}

// connection is how a client is reached: by what its row was given, else by the file. r.mu is
// held. Problem says what is missing.
func (r *Registry) connection(name string) (d Definition, source string) {
	return r.connectionBy(name, r.rows[name])
}

// connectionBy is connection as it would be by a row, which may be nil or hold what is not
// sealed yet.
func (r *Registry) connectionBy(name string, row *row) (d Definition, source string) {
	if row == nil || !row.connects() {
		return r.file[name], fromFile
	}
	d = Definition{Name: name, Backend: row.Backend}
	uri := ""
	if row.PGURIEnvVar != nil {
		uri, _ = r.options.Getenv(*row.PGURIEnvVar)
		if uri == "" && row.uri == "" {
			d.Problem = fmt.Sprintf("set the environment variable %s (pg_uri_env_var of the client), and start again", *row.PGURIEnvVar)
			return d, fromDatabase
		}
	}
	var err error
	switch {
	case uri == "" && row.uri != "":
		uri, err = r.options.Sealer.open(name, "pg_uri", row.uri)
		fallthrough
	case uri != "":
		d.Config, _ = json.Marshal(map[string]string{"uri": uri})
	default:
		var text string
		text, err = r.options.Sealer.open(name, "config", row.config)
		d.Config = json.RawMessage(text)
	}
	if err != nil {
		d.Config, d.Problem = nil, err.Error()
	}
	return d, fromDatabase
}

// wanted is what a client is to be; r.mu is held.
func (r *Registry) wanted(name string) want {
	d, source := r.connection(name)
	overrides := r.overrides[name]
	w := want{state: Active, source: source, backend: d.Backend, config: overrides.merge(d.Config), problem: d.Problem,
		tuning: overrides.tune(r.options.Tuning)}
	switch row := r.rows[name]; {
	case !r.loaded.Load():
		w.state = Unknown
	case row != nil:
		w.state = row.state()
	}
	return w
}

const rowColumns = `c.id, c.client_name, c.description, c.backend, c.config, c.pg_uri, c.pg_uri_env_var, c.config_uri_template, c.source,
	c.is_active, c.is_frozen, c.last_synced_from_config_at, c.last_seen_at, c.metadata, c.created_at, c.updated_at, c.deleted_at`

func scanRow(scan func(...any) error, more ...any) (*row, error) {
	w := &row{}
	var config, uri, metadata sql.NullString
	err := scan(append([]any{&w.ID, &w.ClientName, &w.Description, &w.Backend, &config, &uri, &w.PGURIEnvVar, &w.ConfigURITemplate, &w.Source,
		&w.IsActive, &w.IsFrozen, &w.LastSyncedFromConfigAt, &w.LastSeenAt, &metadata, &w.CreatedAt, &w.UpdatedAt, &w.DeletedAt}, more...)...)
	if err != nil {
		return nil, err
	}
	w.uri, w.config = uri.String, config.String
	for _, at := range []*time.Time{&w.CreatedAt, &w.UpdatedAt, w.LastSyncedFromConfigAt, w.LastSeenAt, w.DeletedAt} {
		if at != nil {
			*at = at.UTC()
		}
	}
	w.Metadata = json.RawMessage("{}")
	if metadata.String != "" {
		w.Metadata = json.RawMessage(metadata.String)
	}
	return w, nil
}

// selectRow returns the row of a client, deleted or not; nil: there is none.
func selectRow(ctx context.Context, c *sql.Conn, name string) (*row, error) {
	w, err := scanRow(c.QueryRowContext(ctx, `SELECT `+rowColumns+` FROM athena_clients c WHERE c.client_name = $1`, name).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return w, err
}

// loadRows reads the whole catalog and applies it.
func (r *Registry) loadRows(ctx context.Context, c *sql.Conn) error {
	found, err := c.QueryContext(ctx, `SELECT `+rowColumns+` FROM athena_clients c`)
	if err != nil {
		return err
	}
	defer found.Close()
	rows := map[string]*row{}
	for found.Next() {
		w, err := scanRow(found.Scan)
		if err != nil {
			return err
		}
		rows[w.ClientName] = w
	}
	if err := found.Err(); err != nil {
		return err
	}
	r.arrange(func() { r.rows, r.haveRows = rows, true })
	return nil
}

// seed writes the file's clients into the catalog, and seals what is not sealed or by an
// older key. It is tried until it works.
func (r *Registry) seed() {
	defer close(r.seeded)
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := r.trySeed(r.running)
		if err == nil || r.running.Err() != nil {
			return
		}
		r.options.Logger.Warn("the clients of the configuration file are not in the ledger yet", "error", err, "next_try_in", pause.String())
		select {
		case <-r.running.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (r *Registry) trySeed(ctx context.Context) error {
	r.mu.Lock()
	rows := r.rows
	r.mu.Unlock()
	var due, names []string
	for _, name := range slices.Sorted(maps.Keys(r.file)) {
		if w := rows[name]; w == nil || text(w.ConfigURITemplate) != r.file[name].Template || w.LastSyncedFromConfigAt == nil {
			due = append(due, name)
		}
	}
	names = append(names, due...)
	var stale []*row
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		if w := rows[name]; r.options.Sealer.stale(w.uri) || r.options.Sealer.stale(w.config) {
			stale = append(stale, w)
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	a := &ledger.Audit{Actor: "gateway", Action: "client.sync_from_config", Target: strings.Join(names, ", ")}
	return r.options.Ledger.Change(ctx, ledger.Clients, a, func(ctx context.Context, c *sql.Conn) error {
		for _, name := range due {
			if err := r.seedRow(ctx, c, name); err != nil {
				return err
			}
		}
		for _, w := range stale {
			if err := r.sealAgain(ctx, c, w); err != nil {
				return err
			}
		}
		return nil
	})
}

// seedRow writes one client of the file. What operators have decided about it stays.
func (r *Registry) seedRow(ctx context.Context, c *sql.Conn, name string) error {
	d, now := r.file[name], time.Now().UTC()
	_, err := c.ExecContext(ctx, `INSERT INTO athena_clients (id, client_name, backend, config_uri_template, source, is_active, is_frozen,
			last_synced_from_config_at, metadata, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8, $8)
		ON CONFLICT (client_name) DO UPDATE SET config_uri_template = excluded.config_uri_template,
			last_synced_from_config_at = excluded.last_synced_from_config_at`,
		newID(), name, d.Backend, null(d.Template), fromFile, true, false, now, "{}")
	return err
}

// sealAgain seals what is stored of a row under the current key. What cannot be opened, or
// has changed meanwhile, stays.
func (r *Registry) sealAgain(ctx context.Context, c *sql.Conn, w *row) error {
	for _, column := range []struct{ name, stored string }{{"pg_uri", w.uri}, {"config", w.config}} {
		if !r.options.Sealer.stale(column.stored) {
			continue
		}
		plain, err := r.options.Sealer.open(w.ClientName, column.name, column.stored)
		if err != nil {
			continue // the client's status says so
		}
		sealed, err := r.options.Sealer.seal(w.ClientName, column.name, plain, true)
		if err != nil {
			return err
		}
		now, err := selectRow(ctx, c, w.ClientName)
		if err != nil {
			return err
		}
		if now == nil || column.name == "pg_uri" && now.uri != column.stored || column.name == "config" && now.config != column.stored {
			continue
		}
		if _, err := c.ExecContext(ctx, `UPDATE athena_clients SET `+column.name+` = $1 WHERE client_name = $2`, sealed, w.ClientName); err != nil {
			return err
		}
	}
	return nil
}

// Field is a member of an Edit: absent, null (Value is nil) or a value.
type Field[T any] struct {
	Set   bool
	Value *T
}

// Edit is a change of a client. What is absent stays as it is. With UpdatedAt it is one of the
// row as it was then, and fails if that has changed since.
type Edit struct {
	UpdatedAt   *time.Time
	Description Field[string]
	PGURI       Field[string]
	PGURIEnvVar Field[string]
	Backend     Field[string]
	Config      Field[json.RawMessage] // a JSON object
	IsActive    Field[bool]
	IsFrozen    Field[bool]
	Metadata    Field[json.RawMessage] // a JSON object
}

// Empty reports whether the edit changes nothing.
func (e *Edit) Empty() bool { return !e.IsFrozen.Set && e.nothingElse() }

// FreezesAlone reports whether the edit changes is_frozen and nothing else.
func (e *Edit) FreezesAlone() bool { return e.IsFrozen.Set && e.nothingElse() }

func (e *Edit) nothingElse() bool {
	return !e.Description.Set && !e.PGURI.Set && !e.PGURIEnvVar.Set && !e.Backend.Set && !e.Config.Set && !e.IsActive.Set && !e.Metadata.Set
}

var (
	clientName   = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`) // as in the configuration file
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)
)

// CheckName says what is wrong with the name of a new client, or with a word that may be repeated
// as one; "": nothing. A text with the form of an API key is none: names are shown and logged.
func CheckName(name string) string {
	switch {
	case !clientName.MatchString(name):
		return "want 1 to 128 letters, digits, dots, dashes and underscores"
	case strings.HasPrefix(name, "ath_") && strings.Contains(name, "."):
		return "want a name, not an API key"
	}
	return ""
}

// IsName reports whether a text may be repeated as a client's name. A client that has one in the
// form of an API key since before that was refused keeps it.
func (r *Registry) IsName(name string) bool {
	if CheckName(name) == "" {
		return true
	}
	if !clientName.MatchString(name) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rows[name] != nil
}

// errFields is the error for a body whose members have mistakes, by name.
func errFields(wrong map[string]string) *sdk.Error {
	message := "the request body has mistakes"
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		message += fmt.Sprintf("; %s: %s", name, wrong[name])
	}
	e := sdk.E(sdk.Invalid, "invalid_body", message)
	e.Details, _ = json.Marshal(map[string]any{"fields": wrong})
	return e
}

// resolve merges an edit into a row and checks the connection that results; nil columns are
// not to be changed. It opens nothing and stores nothing.
func (r *Registry) resolve(ctx context.Context, before *row, name string, e Edit) (columns map[string]any, err error) {
	wrong, columns := map[string]string{}, map[string]any{}
	after := *before
	e.PGURI.trim()
	e.PGURIEnvVar.trim()
	shown := r.shown(before)
	keepURI := e.PGURI.Value != nil && before.uri != "" && *e.PGURI.Value == text(shown.PGURI)
	if keepURI { // what an answer shows is no new URI
		e.PGURI = Field[string]{}
	}
	if r.isConfig(before, &e) { // and no new config
		e.Config = Field[json.RawMessage]{}
	}
	if e.Description.Set {
		columns["description"] = e.Description.Value
	}
	if e.IsActive.Set {
		columns["is_active"] = e.IsActive.Value == nil || *e.IsActive.Value
	}
	if e.IsFrozen.Set {
		columns["is_frozen"] = e.IsFrozen.Value != nil && *e.IsFrozen.Value
	}
	if e.Metadata.Set {
		columns["metadata"] = "{}"
		if e.Metadata.Value != nil {
			columns["metadata"] = string(*e.Metadata.Value)
		}
	}
	uri, config := "", json.RawMessage(nil)
	if e.PGURI.Set {
		if after.uri = ""; e.PGURI.Value != nil {
			uri, after.uri = *e.PGURI.Value, *e.PGURI.Value
			if why := checkURI(uri); why != "" {
				wrong["pg_uri"] = why
			}
		}
	}
	if e.PGURIEnvVar.Set {
		if after.PGURIEnvVar = e.PGURIEnvVar.Value; after.PGURIEnvVar != nil {
			switch name := *after.PGURIEnvVar; {
			case !variableName.MatchString(name):
				wrong["pg_uri_env_var"] = "want the name of an environment variable: letters, digits and underscores"
			case strings.HasPrefix(name, "ATHENA_"):
				wrong["pg_uri_env_var"] = "variables that begin with ATHENA_ are the gateway's own"
			}
		}
	}
	if e.Config.Set {
		if after.config = ""; e.Config.Value != nil {
			config, after.config = *e.Config.Value, string(*e.Config.Value)
		}
	}
	byURI, byConfig := e.PGURI.Value != nil || e.PGURIEnvVar.Value != nil, e.Config.Value != nil
	switch { // a new connection takes the place of the one before
	case byURI && byConfig:
		wrong["config"] = "give either config, or pg_uri and pg_uri_env_var"
	case byURI:
		after.config = ""
		if e.Backend.Value != nil && *e.Backend.Value != uriBackend {
			wrong["backend"] = fmt.Sprintf("a client by pg_uri or pg_uri_env_var has the backend %s; others are given by config", uriBackend)
		}
		after.Backend = uriBackend
		if !e.PGURIEnvVar.Set {
			after.PGURIEnvVar = nil
		}
		if !e.PGURI.Set && !keepURI {
			after.uri = ""
		}
	case byConfig:
		after.uri, after.PGURIEnvVar = "", nil
		if e.Backend.Value != nil {
			after.Backend = *e.Backend.Value
		} else if before.config == "" {
			wrong["backend"] = "want the name of a plugin, such as sqlite or postgres"
		}
		if name, ok := r.unmask(before, after.Backend, &config); !ok {
			wrong["config"] = fmt.Sprintf("holds *** for %q: give its value, or leave config out to keep it as it is", name)
		}
		after.config = string(config)
	case e.Backend.Value != nil && *e.Backend.Value != shown.Backend:
		wrong["backend"] = "the backend changes together with config alone"
	}
	if _, inFile := r.file[name]; !inFile && !after.connects() {
		wrong["pg_uri"] = "one of pg_uri, pg_uri_env_var and config is required: the client is not in the configuration file"
	}
	if len(wrong) > 0 {
		return nil, errFields(wrong)
	}
	if uri != "" {
		config, _ = json.Marshal(map[string]string{"uri": uri})
	}
	if config == nil && (before.ID == "" || !after.connectsAs(before)) {
		if err := r.checkOther(ctx, name, &after); err != nil {
			return nil, err
		}
	}
	if secret, err := r.checkConfig(ctx, name, after.Backend, config); err != nil {
		return nil, err
	} else if config != nil {
		column, plain := "config", string(config)
		if uri != "" {
			column, plain, secret = "pg_uri", uri, true
		}
		sealed, err := r.options.Sealer.seal(name, column, plain, secret)
		if err != nil {
			e := errFields(map[string]string{column: "it may hold a secret and cannot be stored: " + err.Error()})
			e.Reason = "secret_key_required"
			return nil, e
		}
		if uri != "" {
			after.uri = sealed
		} else {
			after.config = sealed
		}
	}
	if after.uri != before.uri {
		columns["pg_uri"] = null(after.uri)
	}
	if text(after.PGURIEnvVar) != text(before.PGURIEnvVar) {
		columns["pg_uri_env_var"] = after.PGURIEnvVar
	}
	if after.config != before.config {
		columns["config"] = null(after.config)
	}
	if after.Backend != before.Backend {
		columns["backend"] = after.Backend
	}
	return columns, nil
}

// isConfig reports whether an edit's config is the one that the row has, with or without the *** of
// answers. One that cannot be opened is shown as {}.
func (r *Registry) isConfig(before *row, e *Edit) bool {
	if before.config == "" || e.Config.Value == nil || e.Backend.Value != nil && *e.Backend.Value != before.Backend {
		return false
	}
	config := *e.Config.Value
	if _, ok := r.unmask(before, before.Backend, &config); !ok {
		return false
	}
	plain, err := r.options.Sealer.open(before.ClientName, "config", before.config)
	if err != nil {
		plain = "{}"
	}
	return sameJSON(config, json.RawMessage(plain))
}

// sameJSON reports whether two texts are the same JSON, however it is written.
func sameJSON(a, b json.RawMessage) bool {
	var values [2]any
	for i, text := range []json.RawMessage{a, b} {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&values[i]) != nil {
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

// unmask puts the stored values in the place of the *** of a config, which answers have for what
// may be a secret. It fails with the name of a member for which nothing is stored.
func (r *Registry) unmask(before *row, backend string, config *json.RawMessage) (name string, ok bool) {
	var members, stored map[string]json.RawMessage
	if json.Unmarshal(*config, &members) != nil {
		return "", true // the backend says what is wrong
	}
	if before.config != "" && before.Backend == backend {
		plain, err := r.options.Sealer.open(before.ClientName, "config", before.config)
		if err == nil {
			_ = json.Unmarshal([]byte(plain), &stored) // what cannot be read keeps nothing
		}
	}
	kept := false
	for _, name := range slices.Sorted(maps.Keys(members)) {
		var text string
		if json.Unmarshal(members[name], &text) != nil || text != "***" {
			continue
		}
		if stored[name] == nil {
			return name, false
		}
		members[name], kept = stored[name], true
	}
	if kept {
		*config, _ = json.Marshal(members)
	}
	return "", true
}

func (f *Field[T]) trim() {
	if s, ok := any(f.Value).(*string); ok && s != nil && strings.TrimSpace(*s) == "" {
		f.Value = nil
	}
}

// checkURI says what is wrong with a pg_uri; "": nothing. It repeats nothing of it.
func checkURI(uri string) string {
	if strings.Contains(uri, ":***@") || uri == "***" {
		return "holds *** where the password was: give the whole URI, or leave pg_uri out to keep it as it is"
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" {
		return "want a connection URI: postgres://user:password@host:5432/database"
	}
	return ""
}

// checkConfig asks the plugin of a backend whether a config, with the client's overrides, fits.
// A plugin that does not start leaves that open.
func (r *Registry) checkConfig(ctx context.Context, name, backend string, config json.RawMessage) (secret bool, err error) {
	if config == nil {
		return false, nil
	}
	r.mu.Lock()
	overrides := r.overrides[name]
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, firstTry)
	defer cancel()
	secret, err = r.options.Host.CheckConfig(ctx, backend, overrides.merge(config))
	if err == nil {
		return secret, nil
	}
	switch e := sdk.AsError(err); e.Kind {
	case sdk.NotFound:
		return true, errFields(map[string]string{"backend": e.Message})
	case sdk.Invalid:
		return true, errFields(map[string]string{"config": e.Message})
	}
	return true, nil
}

// checkOther refuses a connection that is in none of an edit's members, as that of the file is,
// and that the client's own settings keep from being opened.
func (r *Registry) checkOther(ctx context.Context, name string, after *row) error {
	r.mu.Lock()
	own := r.overrides[name]
	d, _ := r.connectionBy(name, after)
	r.mu.Unlock()
	wrong := r.misfits(ctx, &d, own)
	if len(wrong) == 0 {
		return nil
	}
	said := "the client's own settings do not fit the connection that it would have"
	for _, setting := range slices.Sorted(maps.Keys(wrong)) {
		said += fmt.Sprintf("; %s: %s", setting, wrong[setting])
	}
	return errFields(map[string]string{"config": said + "; change them first, PUT or DELETE /admin/client-configs/" + name})
}

// prepare checks a client that is to be created, and returns the columns of its row.
func (r *Registry) prepare(ctx context.Context, name string, e Edit) (columns map[string]any, err error) {
	if why := CheckName(name); why != "" {
		return nil, errFields(map[string]string{"client_name": why})
	}
	return r.resolve(ctx, r.blank(name), name, e)
}

// blank is the row of a client of which the ledger knows nothing.
func (r *Registry) blank(name string) *row {
	return &row{Record: Record{ClientName: name, Backend: r.file[name].Backend}}
}

// isFree refuses the name of a client that there is, by its row or nil.
func (r *Registry) isFree(name string, before *row) error {
	_, inFile := r.file[name]
	if before != nil && before.DeletedAt == nil || before == nil && inFile {
		return sdk.E(sdk.Conflict, "client_exists", fmt.Sprintf("there is a client %q already", name)).
			WithHint("change it by PATCH /admin/clients/{client_name}")
	}
	return nil
}

// CheckCreate fails as Create would, and changes nothing.
func (r *Registry) CheckCreate(ctx context.Context, name string, e Edit) error {
	if _, err := r.prepare(ctx, name, e); err != nil {
		return err
	}
	return r.options.Ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		before, err := selectRow(ctx, c, name)
		if err != nil {
			return err
		}
		return r.isFree(name, before)
	})
}

// Create adds a client to the catalog, and revives one that was deleted. left is what the
// ledger has by its name already. Errors: Conflict "client_exists", Invalid "invalid_body" and
// "secret_key_required". When it returns, the client has been tried once.
func (r *Registry) Create(ctx context.Context, a *ledger.Audit, name string, e Edit) (record *Record, left *References, err error) {
	columns, err := r.prepare(ctx, name, e)
	if err != nil {
		return nil, nil, err
	}
	source := fromFile
	if e.PGURI.Value != nil || e.PGURIEnvVar.Value != nil || e.Config.Value != nil {
		source = fromDatabase
	}
	record, err = r.write(ctx, a, name, func(ctx context.Context, c *sql.Conn, before *row) (err error) {
		if err := r.isFree(name, before); err != nil {
			return err
		}
		if left, err = references(ctx, c, name); err != nil {
			return err
		}
		all := map[string]any{"description": nil, "backend": r.file[name].Backend, "config": nil, "pg_uri": nil, "pg_uri_env_var": nil, "source": source,
			"is_active": true, "is_frozen": false, "metadata": "{}", "deleted_at": nil, "updated_at": time.Now().UTC()}
		maps.Copy(all, columns)
		if before != nil {
			return update(ctx, c, name, all)
		}
		all["id"], all["client_name"], all["created_at"] = newID(), name, all["updated_at"]
		names := slices.Sorted(maps.Keys(all))
		args := make([]any, len(names))
		places := make([]string, len(names))
		for i, column := range names {
			args[i], places[i] = all[column], fmt.Sprintf("$%d", i+1)
		}
		_, err = c.ExecContext(ctx, `INSERT INTO athena_clients (`+strings.Join(names, ", ")+`) VALUES (`+strings.Join(places, ", ")+`)`, args...)
		return err
	})
	return record, left, err
}

// Update changes a client. Errors: NotFound "unknown_client", Conflict "client_changed" if
// somebody else has changed it meanwhile, else those of Create. When it returns, the change
// has been tried once.
func (r *Registry) Update(ctx context.Context, a *ledger.Audit, name string, e Edit) (*Record, error) {
	before, err := r.stored(ctx, name)
	if err != nil {
		return nil, err
	}
	if e.UpdatedAt != nil && !before.UpdatedAt.Equal(*e.UpdatedAt) {
		return nil, errChanged(name)
	}
	columns, err := r.resolve(ctx, before, name, e)
	if err != nil {
		return nil, err
	}
	return r.edit(ctx, a, name, before, columns)
}

func errChanged(name string) error {
	return sdk.E(sdk.Conflict, "client_changed", fmt.Sprintf("somebody else has changed the client %q meanwhile", name)).
		WithHint("look at it again, GET /admin/clients/{client_name}, and repeat the change if it still fits")
}

// SetFrozen freezes or thaws a client. Error: NotFound "unknown_client".
func (r *Registry) SetFrozen(ctx context.Context, a *ledger.Audit, name string, frozen bool) (*Record, error) {
	return r.edit(ctx, a, name, nil, map[string]any{"is_frozen": frozen})
}

// Delete deletes a client: its row stays, and says so, and so does what the ledger has by its
// name, left. Error: NotFound "unknown_client".
func (r *Registry) Delete(ctx context.Context, a *ledger.Audit, name string) (record *Record, left *References, err error) {
	record, err = r.edit(ctx, a, name, nil, map[string]any{"deleted_at": time.Now().UTC()}, func(ctx context.Context, c *sql.Conn) (err error) {
		left, err = references(ctx, c, name)
		return err
	})
	return record, left, err
}

// References is what the ledger has by the name of a client, and what therefore holds for
// whatever client has the name.
type References struct {
	APIKeys      []string `json:"api_keys,omitempty"`       // names of keys that are bound to it
	PublicRoutes []string `json:"public_routes,omitempty"`  // keys of routes that lead to it
	KeySetting   bool     `json:"api_key_client,omitempty"` // it decides itself whether API keys are asked for
	Settings     bool     `json:"client_config,omitempty"`  // it has settings of its own
}

// String is the references in words, "" for none.
func (f *References) String() string {
	var parts []string
	for _, list := range []struct {
		what  string
		names []string
	}{{"the API keys", f.APIKeys}, {"the public routes", f.PublicRoutes}} {
		if len(list.names) > 0 {
			parts = append(parts, list.what+" "+strings.Join(list.names, ", "))
		}
	}
	if f.KeySetting {
		parts = append(parts, "a setting in /admin/api-key-clients")
	}
	if f.Settings {
		parts = append(parts, "settings in /admin/client-configs")
	}
	return strings.Join(parts, "; ")
}

// shownReferences bounds each list of names.
const shownReferences = 100

func references(ctx context.Context, c *sql.Conn, name string) (found *References, err error) {
	found = &References{}
	if found.APIKeys, err = names(ctx, c, `SELECT name FROM api_keys WHERE client_name = $1 AND deleted_at IS NULL ORDER BY name LIMIT $2`, name, shownReferences); err != nil {
		return nil, err
	}
	if found.PublicRoutes, err = names(ctx, c, `SELECT route_key FROM public_routes WHERE client_name = $1 AND deleted_at IS NULL ORDER BY route_key LIMIT $2`, name, shownReferences); err != nil {
		return nil, err
	}
	for _, there := range []struct {
		query string
		to    *bool
	}{
		{`SELECT count(*) > 0 FROM api_key_client_config WHERE client_name = $1`, &found.KeySetting},
		{`SELECT count(*) > 0 FROM client_configs WHERE client_name = $1`, &found.Settings},
	} {
		if err := c.QueryRowContext(ctx, there.query, name).Scan(there.to); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// edit sets columns of the row of a client that is not deleted. They were chosen by the row
// seen; nil: by none. also is done in the same transaction.
func (r *Registry) edit(ctx context.Context, a *ledger.Audit, name string, seen *row, columns map[string]any, also ...func(context.Context, *sql.Conn) error) (*Record, error) {
	return r.write(ctx, a, name, func(ctx context.Context, c *sql.Conn, before *row) error {
		if _, inFile := r.file[name]; before == nil && inFile { // before it was seeded
			if err := r.seedRow(ctx, c, name); err != nil {
				return err
			}
		} else if before == nil || before.DeletedAt != nil {
			return r.errUnknown(name, before)
		} else if seen != nil && before.changedSince(seen) {
			return errChanged(name)
		}
		columns["updated_at"] = time.Now().UTC()
		for _, f := range also {
			if err := f(ctx, c); err != nil {
				return err
			}
		}
		return update(ctx, c, name, columns)
	})
}

// changedSince reports whether a row has been changed since it was seen, as a blank one if it
// had not been seeded then.
func (w *row) changedSince(seen *row) bool {
	if seen.ID == "" {
		return !w.UpdatedAt.Equal(w.CreatedAt)
	}
	return w.ID != seen.ID || !w.UpdatedAt.Equal(seen.UpdatedAt)
}

// write changes the row of a client in one transaction with its audit line, and returns it as
// it is then.
func (r *Registry) write(ctx context.Context, a *ledger.Audit, name string, f func(context.Context, *sql.Conn, *row) error) (*Record, error) {
	if !clientName.MatchString(name) { // a ledger may not even take it for text
		return nil, r.errUnknown(name, nil)
	}
	var after *Record
	a.Target = name
	err := r.options.Ledger.Change(ctx, ledger.Clients, a, func(ctx context.Context, c *sql.Conn) error {
		before, err := selectRow(ctx, c, name)
		if err != nil {
			return err
		}
		if err := f(ctx, c, before); err != nil {
			return err
		}
		written, err := selectRow(ctx, c, name)
		if err != nil {
			return err
		}
		if before != nil {
			if a.Before, err = json.Marshal(r.shown(before)); err != nil {
				return err
			}
		}
		after = r.shown(written)
		a.After, err = json.Marshal(after)
		return err
	})
	if err != nil {
		return nil, err
	}
	limited, done := context.WithTimeout(ctx, firstTry)
	defer done()
	r.Settled(limited, name)
	return after, nil
}

func update(ctx context.Context, c *sql.Conn, name string, columns map[string]any) error {
	args, sets := []any{name}, []string{}
	for _, column := range slices.Sorted(maps.Keys(columns)) {
		args = append(args, columns[column])
		sets = append(sets, fmt.Sprintf("%s = $%d", column, len(args)))
	}
	_, err := c.ExecContext(ctx, `UPDATE athena_clients SET `+strings.Join(sets, ", ")+` WHERE client_name = $1`, args...)
	return err
}

// stored returns the row of a client that is not deleted. One of the file that was not seeded
// yet has a blank one.
func (r *Registry) stored(ctx context.Context, name string) (*row, error) {
	if !clientName.MatchString(name) {
		return nil, r.errUnknown(name, nil)
	}
	var found *row
	if err := r.options.Ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) (err error) {
		found, err = selectRow(ctx, c, name)
		return err
	}); err != nil {
		return nil, err
	}
	if _, inFile := r.file[name]; found == nil && inFile {
		return r.blank(name), nil
	}
	if found == nil || found.DeletedAt != nil {
		return nil, r.errUnknown(name, found)
	}
	return found, nil
}

func (r *Registry) errUnknown(name string, deleted *row) *sdk.Error {
	e := sdk.E(sdk.NotFound, "unknown_client", "there is no client of this name").WithHint("GET /admin/clients lists them")
	if deleted != nil {
		e.Hint = "it was deleted; POST /admin/clients creates it again"
	} else if near := r.Nearest(name); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	return e
}

// names reads the names that a query finds.
func names(ctx context.Context, c *sql.Conn, query string, args ...any) (list []string, err error) {
	rows, err := c.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, rows.Err()
}

// Records lists the catalog by name, with the deleted rows if they are asked for, and counts
// it.
func (r *Registry) Records(ctx context.Context, deleted bool, limit, offset int) (records []*Record, total int, err error) {
	where := ` WHERE c.deleted_at IS NULL`
	if deleted {
		where = ``
	}
	records = []*Record{}
	err = r.options.Ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		if err := c.QueryRowContext(ctx, `SELECT count(*) FROM athena_clients c`+where).Scan(&total); err != nil {
			return err
		}
		records, err = r.selectRecords(ctx, c, where+` ORDER BY c.client_name LIMIT $1 OFFSET $2`, limit, offset)
		return err
	})
	return records, total, err
}

// Record is the row of a client, also of one that was deleted. Error: NotFound
// "unknown_client".
func (r *Registry) Record(ctx context.Context, name string) (*Record, error) {
	if !clientName.MatchString(name) {
		return nil, r.errUnknown(name, nil)
	}
	var found []*Record
	err := r.options.Ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) (err error) {
		found, err = r.selectRecords(ctx, c, ` WHERE c.client_name = $1`, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, r.errUnknown(name, nil)
	}
	return found[0], nil
}

// Runtime is a client as this gateway serves it, for answers: without secrets.
type Runtime struct {
	ClientName        string  `json:"client_name"`
	Source            string  `json:"source"` // where its connection comes from: config or database
	Description       *string `json:"description"`
	Backend           string  `json:"backend"`
	PGURI             *string `json:"pg_uri"`
	PGURIEnvVar       *string `json:"pg_uri_env_var"`
	ConfigURITemplate *string `json:"config_uri_template"`
	IsActive          bool    `json:"is_active"`
	IsFrozen          bool    `json:"is_frozen"`
	State             State   `json:"state"`
	PoolConnected     bool    `json:"pool_connected"`
	Available         bool    `json:"available"`
	Reason            string  `json:"reason,omitempty"`  // why it is not available, as a symbol
	Error             string  `json:"error,omitempty"`   // why not, in words
	Pending           string  `json:"pending,omitempty"` // why its last change is not in use yet
}

// Runtime is how this gateway serves a client; nil: not at all. One that was deleted is
// there, and refused.
func (r *Registry) Runtime(name string) *Runtime {
	c := (*r.clients.Load())[name]
	if c == nil {
		return nil
	}
	r.mu.Lock()
	w := r.rows[name]
	r.mu.Unlock()
	s := c.Status()
	found := &Runtime{ClientName: name, Source: s.Source, Backend: s.Backend, IsActive: true, State: s.State, PoolConnected: s.Connected,
		Available: s.Available, Reason: s.Reason, Error: s.Message, Pending: s.Pending}
	if d := r.file[name]; d.Template != "" {
		found.ConfigURITemplate = &d.Template
	}
	if w != nil {
		shown := r.shown(w)
		found.Description, found.PGURI, found.PGURIEnvVar = shown.Description, shown.PGURI, shown.PGURIEnvVar
		found.IsActive, found.IsFrozen = shown.IsActive, shown.IsFrozen
	}
	return found
}

// selectRecords reads rows. A client was seen last when it was asked last.
func (r *Registry) selectRecords(ctx context.Context, c *sql.Conn, where string, args ...any) ([]*Record, error) {
	found, err := c.QueryContext(ctx, `SELECT `+rowColumns+`, s.last_request_at
		FROM athena_clients c LEFT JOIN client_statistics s ON s.client_name = c.client_name`+where, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	records := []*Record{}
	for found.Next() {
		var asked *time.Time
		w, err := scanRow(found.Scan, &asked)
		if err != nil {
			return nil, err
		}
		if asked != nil && (w.LastSeenAt == nil || w.LastSeenAt.Before(*asked)) {
			w.LastSeenAt = asked
		}
		records = append(records, r.shown(w))
	}
	return records, found.Err()
}

// shown is a row without its secrets.
func (r *Registry) shown(w *row) *Record {
	shown := w.Record
	if w.uri != "" {
		uri := "***"
		if plain, err := r.options.Sealer.open(w.ClientName, "pg_uri", w.uri); err == nil {
			uri = Redact(plain)
		}
		shown.PGURI = &uri
	}
	if w.config != "" {
		plain, _ := r.options.Sealer.open(w.ClientName, "config", w.config) // shown as empty if it cannot be opened
		shown.Config = r.options.Host.RedactConfig(w.Backend, json.RawMessage(plain))
	} else if d, inFile := r.file[w.ClientName]; inFile && !w.connects() {
		shown.Backend = d.Backend
	}
	return &shown
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// null is text, or NULL for an empty one.
func null(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
