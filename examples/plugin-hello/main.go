// Command hello is the smallest plugin that says something: whatever is selected, from any
// table or by a SQL text, answers with one row that greets.
package main

import (
	"context"

	"github.com/athena-gateway/athena/sdk"
)

// Config becomes the JSON Schema that a client's config is checked against.
type Config struct {
	Greeting string `json:"greeting" athena:"default=hello,doc=What to say"`
	Token    string `json:"token" athena:"secret,doc=Of no use here. The SDK removes a secret from errors and logs"`
}

// hello is one opened client. Its methods are called concurrently.
type hello struct{ Config }

// Execute answers a call. What is not declared below never comes here.
func (h hello) Execute(_ context.Context, _ *sdk.Call, rows *sdk.Rows) error {
	rows.Columns("greeting")
	return rows.Row(h.Greeting)
}

// Close would end connections.
func (hello) Close() error { return nil }

func open(_ context.Context, config Config) (hello, error) { return hello{config}, nil }

var plugin = sdk.Plugin{Name: "hello", Version: "0.1.0", Backend: sdk.NewBackend(open, sdk.Capabilities{Verbs: []sdk.Verb{sdk.Select, sdk.SQL}})}

func main() { sdk.Serve(plugin) }
