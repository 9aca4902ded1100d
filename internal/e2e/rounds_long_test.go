//go:build linux && long

package e2e

const disturbRounds = 10
