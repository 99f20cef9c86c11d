package fault

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// A reset needs a host that can, and stands alone.
func TestReset(t *testing.T) {
	parse := func(abort string) (Config, error) {
		return ParseConfig([]byte(`{"rules":[{"abort":{"percentage":100,` + abort + `}}]}`))
	}
	c, err := parse(`"reset":true`)
	if err != nil {
		t.Fatal(err)
	}
	env := filtertest.Env()
	p, err := New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	res := (&filtertest.Runner{Base: filtertest.Single("fault", p)}).Do()
	if res.Response != nil || res.Request != nil || res.Reply == nil || !res.Reply.Reset || res.Host.Annotations["fault"] != "0: abort reset" {
		t.Errorf("result %+v, annotations %v", res, res.Host.Annotations)
	}
	env.Resets = false
	if _, err := New(c, env); err == nil || !strings.Contains(err.Error(), "only the dynamic module") {
		t.Errorf("a host that cannot: %v", err)
	}
	for _, beside := range []string{`"reset":true,"httpStatus":500`, `"reset":true,"grpcStatus":3`} {
		if _, err := parse(beside); err == nil {
			t.Errorf("%s is accepted", beside)
		}
	}
}
