package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	u, err := url.Parse(testenv.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("sslpassword", "canary-93f1") // of no use to a server without TLS
	u.RawQuery = q.Encode()
	target := sdktest.Target{Config: conformanceConfig(t, u.String()), Dialect: sdktest.Postgres, Secrets: []string{"canary-93f1"}}
	if testenv.HasExtension(t, u.String(), "postgis") {
		target.Dialect.Places = sdktest.PostGIS
	}
	coverage := &sdktest.Coverage{}
	t.Run("in process", func(t *testing.T) {
		covering := target.InProcess(plugin())
		covering.Coverage = coverage
		sdktest.Run(t, covering)
	})
	t.Run("binary", func(t *testing.T) { sdktest.Run(t, target.Binary(sdktest.Build(t, "."))) })
	t.Run("replicas", func(t *testing.T) { // without them a write has no position
		replicated := target.InProcess(plugin())
		replicated.Config = conformanceConfig(t, u.String(), u.String())
		replicated.Coverage = coverage
		sdktest.Run(t, replicated, "transactions")
	})
	t.Run("pooler", func(t *testing.T) {
		pooled := target.InProcess(plugin())
		pooled.Config = conformanceConfig(t, testenv.PgBouncer(t, testenv.Database(t)))
		pooled.Secrets = nil
		sdktest.Run(t, pooled)
	})
	t.Run("coverage", func(t *testing.T) { // a field that no check uses may be ignored by every backend
		for _, part := range coverage.Missing() {
			if part == fmt.Sprintf("Format=%d", sdk.FormatGeoJSON) && target.Dialect.Places == nil {
				continue // there is no PostGIS
			}
			t.Errorf("no check uses %s", part)
		}
	})
}

func conformanceConfig(t *testing.T, uri string, replicas ...string) json.RawMessage {
	t.Helper()
	config, err := json.Marshal(map[string]any{"uri": uri, "replicas": append([]string{}, replicas...)})
	if err != nil {
		t.Fatal(err)
	}
	return config
}
