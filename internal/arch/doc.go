// Package arch holds the tests of the repository's shape: which package may import which,
// who owns a heavy dependency, and that the README's plugin compiles.
package arch
