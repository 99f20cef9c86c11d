package injector

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/injector/corpus"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestCorpus: what comes out of every case, told whole or by the difference from another one; and again what comes out is left alone.
func TestCorpus(t *testing.T) {
	cases := golden.Load(t, "testdata/inject")
	if len(cases) < 100 {
		t.Errorf("%d cases, want 100 or more", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			s := corpus.Read(t, c)
			out, warnings, err := s.Inject()
			got := map[string]string{"warnings.txt": strings.Join(warnings, "\n"), "out.yaml": "", "out.diff": "", "error.txt": ""}
			switch {
			case err != nil:
				got["error.txt"] = err.Error()
			case out == string(s.In):
				got["out.yaml"] = "# as it came\n"
			case s.Base == "":
				got["out.yaml"] = out
			default:
				plain, _, err := s.Beneath(t, c).Inject()
				if err != nil {
					t.Fatal(err)
				}
				got["out.diff"] = golden.Diff(plain, out)
			}
			c.Check(t, got)
			if err == nil {
				sameByWebhook(t, s, out)
				s.In = []byte(out)
				if again, _, err := s.Inject(); err != nil || again != out {
					t.Errorf("injected twice it is another (%v):\n%s", err, golden.Diff(out, again))
				}
			}
		})
	}
}
