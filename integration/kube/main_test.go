// Package kube holds the tests of Mizzen in a cluster that need a real API server, and no nodes.
package kube

import (
	"os"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

var shared kubetest.Package

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }
