// Package kube holds the tests of Mizzen in a cluster that need a real API server, and no nodes.
package kube

import (
	"flag"
	"os"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

var shared kubetest.Package

// places are how many tests use the shared cluster at a time: they compute, while others, with clusters of their own, mostly wait.
var places = make(chan struct{}, 3)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "64") // places bounds them
	os.Exit(shared.Run(m))
}

// side is the shared cluster for a test that runs beside others, in namespaces of its own.
func side(t *testing.T) *kubetest.Cluster {
	t.Helper()
	t.Parallel()
	places <- struct{}{}
	t.Cleanup(func() { <-places })
	return shared.Cluster(t)
}
