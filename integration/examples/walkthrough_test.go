// Package examples runs README's ten steps on the sample mesh, so that what it promises stays true.
package examples

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

func TestWalkthrough(t *testing.T) {
	m := meshtest.Start(t, "../../examples/shop", meshtest.Options{})
	c := m.ViaGateway()
	apply := func(step string) {
		t.Helper()
		files, err := filepath.Glob("../../examples/walkthrough/" + step + "-*.yaml")
		if err != nil || len(files) != 1 {
			t.Fatalf("step %s: %v %v", step, files, err)
		}
		if out, code := m.Run(t, "", "apply", "-f", files[0]); code != 0 || strings.Contains(out, "Error") {
			t.Fatalf("apply %s: %d\n%s", files[0], code, out)
		}
	}
	catalog := func(a meshtest.Answer) string {
		for _, v := range []string{"v1", "v2"} {
			if a.Code == 200 && strings.Contains(a.Body, "=> catalog "+v+" ") {
				return v
			}
		}
		return fmt.Sprint(a.Code)
	}
	is := func(v string) func(meshtest.Answer) bool {
		return func(a meshtest.Answer) bool { return catalog(a) == v }
	}
	between := func(what string, n, low, high int) {
		t.Helper()
		if n < low || n > high {
			t.Errorf("%s: %d, want %d to %d", what, n, low, high)
		}
	}

	got := c.Tally(t, 400, catalog, "/") // 5 sigma of 400 draws: 50 at 50 %, 30 at 10 %, 40 at 20 %
	between("1: v1", got["v1"], 150, 250)
	between("1: v1 and v2", got["v1"]+got["v2"], 400, 400)

	apply("02")
	c.Await(t, "2: v1", is("v1"), "/")
	if got = c.Tally(t, 100, catalog, "/"); got["v1"] != 100 {
		t.Errorf("2: %v", got)
	}

	apply("03")
	c.Await(t, "3: v2 now and then", is("v2"), "/")
	between("3: v2", c.Tally(t, 400, catalog, "/")["v2"], 10, 70)

	apply("04")
	c.Await(t, "4: the tester's v2", is("v2"), "/", "x-tester: true")
	c.Await(t, "4: Firefox's v2", is("v2"), "/", "user-agent: Firefox/140")
	if got = c.Tally(t, 100, catalog, "/"); got["v1"] != 100 {
		t.Errorf("4: others: %v", got)
	}

	apply("05")
	c.Await(t, "5: v2 without a user", is("v2"), "/")
	sides := map[string]int{}
	for u := range 100 {
		got := c.Tally(t, 3, catalog, "/", fmt.Sprintf("x-user: user-%d", u))
		if len(got) != 1 {
			t.Errorf("5: user %d was on both sides: %v", u, got)
		}
		for v := range got {
			sides[v]++
		}
	}
	between("5: users of v2 among 100", sides["v2"], 7, 53)

	apply("06")
	c.Await(t, "6: a fault", func(a meshtest.Answer) bool { return a.Code == 503 }, "/")
	between("6: aborted", c.Tally(t, 160, catalog, "/")["503"], 7, 57)

	apply("07")
	c.Await(t, "7: too late", func(a meshtest.Answer) bool { return strings.Contains(a.Body, "catalog: 504") }, "/", "slow: 2s")
	stock := m.From(t, "pricing-v1-0").Tally(t, 400, func(a meshtest.Answer) string { return fmt.Sprint(a.Code) }, "http://stock:8080/", "fail: 0.3")
	between("7: failures left by three retries", stock["500"], 0, 12)

	apply("08")
	mirrored := func() int { return m.Stat(t, "pricing-v2-0", `^http\.inbound.*downstream_rq_2xx$`) }
	before := mirrored()
	meshtest.Eventually(t, "8: copies reach pricing v2", func() bool {
		a, err := c.Get("/")
		return err == nil && a.Code == 200 && strings.Contains(a.Body, "pricing v1") && mirrored() > before
	})

	apply("09")
	c.Await(t, "9: the limit is in force", func(a meshtest.Answer) bool { return a.Header.Get("x-ratelimit-limit") != "" }, "/", "x-user: probe")
	got = c.Tally(t, 10, catalog, "/", "x-user: ann")
	between("9: refused", got["429"], 5, 5)

	a := c.Must(t, "/", "accept: application/json", "b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")
	if n := strings.Count(a.Body, `"traceparent":["00-80f198ee56343ba864fe8b2a57d3eff7-`); n != 4 {
		t.Errorf("10: the trace reaches %d of 4 services: %s", n, a.Body)
	}
}

// README's smoke test: `mizzen up -- COMMAND` ends with the command's status.
func TestSmokeScript(t *testing.T) {
	script, err := filepath.Abs("../../examples/smoke.sh")
	if err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]int{script: 0, "false": 1} {
		if _, err := os.Stat(script); err != nil {
			t.Fatal(err)
		}
		out, code := meshtest.Up(t, "../../examples/shop", command)
		if code != want {
			t.Errorf("%s: status %d, want %d\n%s", command, code, want, out)
		}
	}
}
