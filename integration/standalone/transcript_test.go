package standalone

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// comment is the text before a configuration, without its "# ".
func comment(config string) string {
	head, _, _ := strings.Cut(config, "static_resources:")
	var b strings.Builder
	for line := range strings.Lines(head) {
		b.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "))
	}
	return b.String()
}

// step is a command and the lines that it prints, "..." in them standing for anything.
type step struct {
	command string
	prints  []string
}

// transcript finds the commands in a text: lines that begin with "$ ", each followed by what it prints, indented alike.
func transcript(text string) []step {
	var steps []step
	indent, open := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		rest := strings.TrimLeft(line, " ")
		switch {
		case strings.HasPrefix(rest, "$ "):
			indent, open = line[:len(line)-len(rest)], true
			steps = append(steps, step{command: rest[2:]})
		case open && strings.HasPrefix(line, indent) && rest != "" && !strings.HasPrefix(rest, "```"):
			s := &steps[len(steps)-1]
			s.prints = append(s.prints, line[len(indent):])
		default:
			open = false
		}
	}
	return steps
}

// replay runs the commands of a text against r, in order, and holds what they print to it.
func replay(t *testing.T, r *running, text string) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log("the commands of the comment are not run: no curl")
		return
	}
	to := []string{"localhost:10000", r.Addr(ingress), "localhost:9901", r.Admin()}
	if r.limits != nil {
		to = append(to, "localhost:8082", r.limits.pages)
	}
	addresses := strings.NewReplacer(to...)
	for _, s := range transcript(text) {
		out, err := exec.Command("sh", "-c", addresses.Replace(s.command)).CombinedOutput()
		if err != nil {
			t.Errorf("$ %s\n%v\n%s", s.command, err, out)
			continue
		}
		if got := lines(string(out)); !fits(got, s.prints) {
			t.Errorf("$ %s\nprints\n%s\nand not\n%s", s.command, strings.Join(got, "\n"), strings.Join(s.prints, "\n"))
		}
	}
}

func lines(s string) []string {
	s = strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	return strings.Split(s, "\n")
}

func fits(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i, w := range want {
		expr := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(w)), `\.\.\.`, `.*`)
		if !regexp.MustCompile(`^` + expr + `$`).MatchString(strings.TrimSpace(got[i])) {
			return false
		}
	}
	return true
}
