// Package node holds the tests of the plugin in Node: it is built, run without a gateway, and
// run by one.
package node
