package main

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/athena-gateway/athena/internal/testenv"
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
	config, err := json.Marshal(map[string]any{"uri": u.String()})
	if err != nil {
		t.Fatal(err)
	}
	target := sdktest.Target{Config: config, Dialect: sdktest.Postgres, Secrets: []string{"canary-93f1"}}
	t.Run("in process", func(t *testing.T) { sdktest.Run(t, target.InProcess(plugin())) })
	t.Run("binary", func(t *testing.T) { sdktest.Run(t, target.Binary(sdktest.Build(t, "."))) })
}
