package golden

import (
	"strings"
	"testing"
	"time"
)

func TestDiff(t *testing.T) {
	if d := Diff("a\nb\n", "a\nb\n"); d != "" {
		t.Errorf("equal texts differ:\n%s", d)
	}
	want := strings.Join([]string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}, "\n")
	got := strings.Replace(want, "5", "five", 1)
	if d, line := Diff(want, got), "@@ line 2 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"; d != line {
		t.Errorf("diff is\n%swant\n%s", d, line)
	}
	if d := Diff("", "a\n"); !strings.Contains(d, "+a") {
		t.Errorf("diff from nothing is %q", d)
	}
}

type colour uint8

func (c colour) String() string { return [...]string{"red", "blue"}[c] }

type inner struct{ Name string }

type outer struct {
	inner
	Inner     inner
	HTTPSPort uint32
	TLS       *bool
	Wait      time.Duration
	Colour    colour
	Tags      map[string]string
	List      []string
	Long      []inner
	hidden    int
}

func TestYAML(t *testing.T) {
	no := false
	v := outer{
		Inner: inner{"a"}, HTTPSPort: 443, TLS: &no, Wait: time.Second, Tags: map[string]string{"b": "2", "a": "1"},
		List: []string{"x", "y"}, Long: []inner{{"n"}}, hidden: 1,
	}
	want := `inner:
  name: a
httpsPort: 443
tls: false
wait: 1s
colour: red
tags:
  a: "1"
  b: "2"
list: [x, "y"]
long:
  - name: "n"
`
	if got := YAML(&v); got != want {
		t.Errorf("rendered (-want +got):\n%s", Diff(want, got))
	}
}
