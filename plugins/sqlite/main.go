// The sqlite plugin: SQLite database files for Athena.
package main

import "github.com/athena-gateway/athena/sdk"

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin {
	return sdk.Plugin{Name: "sqlite", Version: "0.1.0", Backend: sdk.NewBackend(open, capabilities)}
}
