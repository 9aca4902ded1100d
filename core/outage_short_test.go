//go:build !long

package core

import "time"

// outage is how long TestLedgerOutage keeps the ledger hanging, then gone.
const outage = 2 * time.Second
