package registry_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// FuzzParse: a configuration that is taken, read as the control plane's type and written again, is taken again, and
// written a third time it is the same.
func FuzzParse(f *testing.F) {
	cases, err := conformance.Load()
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		f.Add([]byte(c.Config))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		env := filtertest.Env()
		env.Sends = true
		if _, err := registry.Parse(raw, env); err != nil || len(bytes.TrimSpace(raw)) == 0 {
			return
		}
		var c, again registry.Config
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatalf("the control plane's type cannot hold it: %v", err)
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Parse(text, env); err != nil {
			t.Fatalf("refused when written again: %v\n%s", err, text)
		}
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if third, err := json.Marshal(again); err != nil || string(third) != string(text) {
			t.Fatalf("%s\nbecomes\n%s (%v)", text, third, err)
		}
	})
}
