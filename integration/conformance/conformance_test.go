package conformance

import (
	"os"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

func load(t *testing.T) []*conformance.Case {
	t.Helper()
	cases, err := conformance.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// begin skips the corpus where it has been run already: make test runs it first, to show its counts.
func begin(t *testing.T) {
	t.Helper()
	if os.Getenv("MIZZEN_CONFORMANCE") == "done" {
		t.Skip("the corpus has been run by make conformance, which prints its counts")
	}
	t.Parallel()
}

// run runs the corpus in an Envoy. Executors run beside each other: most of what they do is to wait.
func run(t *testing.T, d func(t testing.TB) dialect) {
	t.Helper()
	begin(t)
	envoytest.Find(t)
	cases := load(t)
	conformance.Run(t, start(t, d(t), cases), cases)
}

func TestWasm(t *testing.T) { run(t, func(t testing.TB) dialect { return newWasm(t) }) }

func TestDynamicModule(t *testing.T) { run(t, func(testing.TB) dialect { return dynmod{} }) }

func TestGolanghost(t *testing.T) { run(t, func(testing.TB) dialect { return golanghost{} }) }

func TestNative(t *testing.T) { run(t, func(testing.TB) dialect { return native{} }) }

func TestGolang(t *testing.T) {
	begin(t)
	conformance.Run(t, newGolang(t), load(t))
}

func TestWazero(t *testing.T) {
	begin(t)
	conformance.Run(t, newWazero(t), load(t))
}
