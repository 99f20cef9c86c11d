//go:build !unix

package wasmtest

// lock does nothing here: do not let two test processes build the same file.
func lock(string) (unlock func(), err error) { return func() {}, nil }
