package conformance

import (
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
)

func load(t *testing.T) []*conformance.Case {
	t.Helper()
	cases, err := conformance.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestDynamicModule(t *testing.T) {
	cases := load(t)
	conformance.Run(t, start(t, dynmod{}, cases), cases)
}

func TestNative(t *testing.T) {
	cases := load(t)
	conformance.Run(t, start(t, native{}, cases), cases)
}

func TestWazero(t *testing.T) {
	conformance.Run(t, newWazero(t), load(t))
}
