// Package athena holds what the gateway carries inside its binary.
package athena

import _ "embed"

// DefaultConfig is the config.yaml that a first run writes where it finds none.
//
//go:embed config.yaml
var DefaultConfig []byte
