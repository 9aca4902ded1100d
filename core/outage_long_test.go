//go:build long

package core

import "time"

// outage is how long TestLedgerOutage keeps the ledger hanging, then gone: 60 s in all.
const outage = 30 * time.Second
