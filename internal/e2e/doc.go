// Package e2e tests whole processes: the athena binary with the postgres and sqlite
// plugins, against a real PostgreSQL, as an operator and as clients meet them. It reads
// /proc, so its tests are for Linux.
package e2e
