// Package conformance holds one corpus of cases that say what the policies do, in terms of what a user sees, and runs
// it against any host of the policies. README.md explains the cases, the executors, and where hosts differ by design.
package conformance
