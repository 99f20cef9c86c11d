// Package kube holds the tests of Mizzen in a cluster that need a real API server, and no nodes.
package kube

import (
	"flag"
	"os"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

var shared kubetest.Package

// places are how many tests run at a time of those that compute; others, with clusters of their own, mostly wait.
var places = make(chan struct{}, 2)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "64") // places bounds them
	os.Exit(shared.Run(m))
}

// place has a test run beside others, once there is a place for it.
func place(t *testing.T) {
	t.Helper()
	t.Parallel()
	places <- struct{}{}
	t.Cleanup(func() { <-places })
}

// side is the shared cluster for a test that runs beside others, in namespaces of its own.
func side(t *testing.T) *kubetest.Cluster {
	t.Helper()
	place(t)
	return shared.Cluster(t)
}
