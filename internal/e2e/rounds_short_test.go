//go:build linux && !long

package e2e

// disturbRounds is how often each thing happens to a plugin under load.
const disturbRounds = 2
