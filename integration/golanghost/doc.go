// Package golanghost tests the contrib golang host (filters/host/golang) without a contrib Envoy: in a C harness that
// implements the host symbols over header maps in memory (testdata/harness), and in a stock Envoy, through the dynamic
// module filters/host/golanghost.
package golanghost
