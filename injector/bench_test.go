package injector

import (
	"encoding/json"
	"testing"

	"github.com/mizzen-mesh/mizzen/injector/corpus"
	"github.com/mizzen-mesh/mizzen/internal/golden"

	"golang.org/x/tools/txtar"
)

// BenchmarkAdmission: one review of a pod with a probe, without the network.
func BenchmarkAdmission(b *testing.B) {
	a, err := txtar.ParseFile("testdata/inject/probe-http.txtar")
	if err != nil {
		b.Fatal(err)
	}
	s := corpus.Read(b, &golden.Case{Name: "probe-http", Path: "testdata/inject/probe-http.txtar", Archive: a})
	raw, err := json.Marshal(corpus.Pod(corpus.Objects(b, s.In)[0]))
	if err != nil {
		b.Fatal(err)
	}
	h, body := handler(s.Policy), question(b, raw)
	b.ReportAllocs()
	for b.Loop() {
		serve(h, body)
	}
}
