// Package netnstest makes pods for tests: network namespaces with an address each, on the bridge of a node, with a default route to it,
// names by DNS, and programs in them that run as any user. Needs root, ip and setpriv; tests skip where they are missing.
package netnstest
