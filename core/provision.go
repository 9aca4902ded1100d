package core

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/sdk"
)

// postgresURI returns the URI of a registered client of PostgreSQL, and the password if that
// is in a file.
func (g *Gateway) postgresURI(name string) (uri, password string, err error) {
	client, err := g.registry.Client(name)
	if err != nil {
		return "", "", err
	}
	if client.Status().State == registry.Deleted {
		return "", "", sdk.E(sdk.Invalid, "unknown_client", fmt.Sprintf("client %q has been deleted", name))
	}
	if client.Backend() != "postgres" {
		return "", "", sdk.E(sdk.Invalid, "not_postgres", fmt.Sprintf("client %q is no PostgreSQL database, but one of %s", name, client.Backend()))
	}
	config, err := client.Config()
	if err != nil {
		return "", "", err
	}
	var settings struct {
		URI          string
		PasswordFile string `json:"password_file"`
	}
	if err := json.Unmarshal(config, &settings); err != nil {
		return "", "", sdk.E(sdk.Invalid, "invalid_config", fmt.Sprintf("the config of client %q has no uri", name))
	}
	if path := settings.PasswordFile; path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(g.config.Dir, path)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return "", "", &sdk.Error{Kind: sdk.Unavailable, Reason: "password_file", Executed: sdk.ExecutedNo,
				Message: fmt.Sprintf("the password file of client %q cannot be read", name), Log: err.Error()}
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	return settings.URI, password, nil
}

// byURI is a client of PostgreSQL.
func byURI(uri string) registry.Edit {
	return registry.Edit{PGURI: registry.Field[string]{Set: true, Value: &uri}}
}

// canRegister fails if register would.
func (g *Gateway) canRegister(ctx context.Context, name, uri string) error {
	return g.registry.CheckCreate(ctx, name, byURI(uri))
}

// register adds a client of PostgreSQL to the catalog, and says what the ledger has by its name
// already.
func (g *Gateway) register(r *httpx.Request, name, uri string) (left string, err error) {
	_, references, err := g.registry.Create(r.Context(), adminapi.Audit(r, "create_client", name), name, byURI(uri))
	if err != nil {
		return "", err
	}
	return references.String(), nil
}
