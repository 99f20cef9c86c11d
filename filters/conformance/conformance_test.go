package conformance_test

import (
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
)

func TestInProcess(t *testing.T) {
	cases, err := conformance.Load()
	if err != nil {
		t.Fatal(err)
	}
	conformance.Run(t, conformance.InProcess{}, cases)
}
