package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// testPage types what docs/kubernetes.md tells a newcomer to type, and compares what is printed with what the page shows.
func testPage(t *testing.T, n *node) {
	text, err := os.ReadFile(filepath.Join(n.root, "docs", "kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := commands(strings.NewReplacer("REGISTRY/mizzen", "mizzen", "TAG=TAG", "TAG=test", "tag=TAG", "tag=test", ":TAG", ":test").Replace(string(text)))
	if len(all) < 15 {
		t.Fatalf("the page has %d commands", len(all))
	}
	s := n.shell(t)
	for _, c := range all {
		if strings.HasPrefix(c.line, "make ") { // the images are loaded, and the program is theirs
			continue
		}
		began := time.Now()
		got, rc := s.run(c.line)
		for asking(c.line) && !c.fits(got) && time.Since(began) < patience { // it takes its time to come about
			time.Sleep(500 * time.Millisecond)
			got, rc = s.run(c.line)
		}
		t.Logf("%.0f s: $ %s\n%s", time.Since(began).Seconds(), c.line, got)
		if !c.fits(got) || rc != 0 && !strings.HasPrefix(c.output, "Error") {
			t.Errorf("$ %s\nends with %d and prints\n%s\nthe page shows\n%s", c.line, rc, got, c.output)
			return // the rest would not be what it is about
		}
	}
}

// asking tells of a command that may be given again.
func asking(line string) bool {
	return slices.ContainsFunc([]string{"curl ", "kubectl get ", "mizzen proxy-", "mizzen analyze "}, func(p string) bool { return strings.HasPrefix(line, p) })
}

// command is one of the page's, with what the page shows of its output.
type command struct{ line, output string }

// commands are the indented lines that begin with "$ "; the indented lines after one are its output.
func commands(page string) []command {
	var out []command
	open := false
	for line := range strings.Lines(page) {
		text, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		switch rest, prompt := strings.CutPrefix(text, "$ "); {
		case indented && prompt:
			out, open = append(out, command{line: rest}), true
		case indented && open:
			out[len(out)-1].output += text + "\n"
		case text == "" && open:
			out[len(out)-1].output += "\n"
		default:
			open = false
		}
	}
	return out
}

// fits compares a command's output with the page's, but for what differs from run to run. A line "..." stands for whatever follows.
func (c command) fits(got string) bool {
	want := alike(c.output)
	if head, ok := strings.CutSuffix(want, "..."); ok {
		return strings.HasPrefix(alike(got), strings.TrimSpace(head))
	}
	return want == alike(got)
}

var differs = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`(?m)^deployment \S+ waits: .*\n`), ""}, // on a busy machine
	{regexp.MustCompile(`-[a-z0-9]{8,10}-[a-z0-9]{5}\b`), "-POD"},
	{regexp.MustCompile(`\(\d+ s\)`), "(SECONDS)"},
	{regexp.MustCompile(`\b(\d+m)?\d+s\b`), "AGE"},
	{regexp.MustCompile(`(catalog|pricing) v[12] \((catalog|pricing)-v[12]-POD\)`), "$1"},
	{regexp.MustCompile(`\d+ root certificates`), "ROOTS"},
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`\n\n+`), "\n"},
}

// alike is the text without what differs from run to run; the order in which Deployments become available does, too.
func alike(text string) string {
	for _, d := range differs {
		text = d.what.ReplaceAllString(text, d.by)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
		if strings.Contains(lines[i], " is available ") {
			lines[i] = "a deployment is available"
		}
	}
	return strings.Join(lines, "\n")
}

// shell is a user's.
type shell struct {
	t    *testing.T
	in   io.Writer
	out  *bufio.Reader
	kill func()
}

// shell starts bash in the node's network, in the project's folder, with kubectl and the images' mizzen.
func (n *node) shell(t *testing.T) *shell {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "scripts/node", "run", "bash", "--noprofile", "--norc")
	cmd.Path, cmd.Dir = filepath.Join(n.root, "scripts", "node"), n.root
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(n.folder, "programs")+":"+filepath.Join(n.folder, "bin")+":"+os.Getenv("PATH"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.CloseWithError(cmd.Wait())
	}()
	t.Cleanup(func() {
		_, _ = io.WriteString(in, "kill $(jobs -p) 2>/dev/null; exit\n")
		_ = in.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cancel()
			_ = out.Close()
			<-ended
		}
		cancel()
	})
	return &shell{t: t, in: in, out: bufio.NewReader(out), kill: cancel}
}

// run types a line, and returns what was printed until it had ended, and how it ended.
func (s *shell) run(line string) (out string, rc int) {
	s.t.Helper()
	const mark = "=== ended with "
	if _, err := fmt.Fprintf(s.in, "%s\nr=$?; echo; echo '%s'$r\n", line, mark); err != nil {
		s.t.Fatal(err)
	}
	late := time.AfterFunc(2*patience, s.kill)
	defer late.Stop()
	var b strings.Builder
	for {
		text, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("$ %s: the shell ended: %v\n%s", line, err, b.String())
		}
		if rest, ok := strings.CutPrefix(text, mark); ok {
			_, err := fmt.Sscan(rest, &rc)
			if err != nil {
				s.t.Fatal(err)
			}
			return b.String(), rc
		}
		b.WriteString(text)
	}
}
