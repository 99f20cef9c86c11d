package localmesh

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// printer writes what the user sees.
type printer struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool            // w is one: show progress
	shown    string          // progress that stands on the last line
	seen     map[string]bool // diagnostics in force that were printed
}

func newPrinter(w io.Writer) *printer {
	p := &printer{w: w, seen: map[string]bool{}}
	if f, ok := w.(*os.File); ok {
		fi, err := f.Stat()
		p.terminal = err == nil && fi.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// progress replaces the last line of a terminal; "" takes it away. Elsewhere it is silent.
func (p *printer) progress(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.terminal || text == p.shown {
		return
	}
	fmt.Fprint(p.w, "\r\x1b[K"+text)
	p.shown = text
}

func (p *printer) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown != "" {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = ""
	}
	fmt.Fprintf(p.w, format+"\n", args...)
}

// gateways prints where the mesh is entered.
func (p *printer) gateways(s *state.State) {
	for _, g := range s.Gateways {
		var urls []string
		for _, u := range []string{g.HTTP, g.HTTPS} {
			if u != "" {
				urls = append(urls, u)
			}
		}
		for _, server := range slices.Sorted(maps.Keys(g.Ports)) {
			suffix := fmt.Sprintf(":%d", g.Ports[server])
			if !slices.ContainsFunc(urls, func(u string) bool { return strings.HasSuffix(u, suffix) }) {
				urls = append(urls, g.Address+suffix)
			}
		}
		p.say("gateway %s: %s", g.Name, cmp.Or(strings.Join(urls, "  "), "no servers"))
	}
	p.say("control plane: xDS %s, pages %s/", s.ControlPlane.XDS, s.ControlPlane.HTTP)
}

// workloads prints the table.
func (p *printer) workloads(s *state.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w)
	t := tabwriter.NewWriter(p.w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, "NAME\tNAMESPACE\tVERSION\tADDRESS\tPROXY")
	for _, w := range s.Workloads {
		address := w.Address
		if len(w.Ports) > 0 {
			address = fmt.Sprintf("%s:%d", w.Address, w.Ports[0])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", w.Name, w.Namespace, cmp.Or(w.Labels["version"], "-"), address, cmp.Or(w.Proxy, "none"))
	}
	t.Flush()
	fmt.Fprintln(p.w)
}

// diagnostics prints those that are new, and says when all have gone.
func (p *printer) diagnostics(ds istio.Diagnostics) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := map[string]bool{}
	for _, d := range ds {
		line := d.String()
		if !now[line] && !p.seen[line] {
			fmt.Fprintln(p.w, line)
		}
		now[line] = true
	}
	if len(now) == 0 && len(p.seen) > 0 {
		fmt.Fprintln(p.w, "no more findings: all is well")
	}
	p.seen = now
}

// try prints what to do next.
func (p *printer) try(s *state.State, set istio.Set, executable string) {
	name := programName(executable)
	p.say("try:")
	if len(s.Gateways) > 0 && s.Gateways[0].HTTP != "" {
		host, path := door(set)
		if host != "" {
			host = fmt.Sprintf("-H 'Host: %s' ", host)
		}
		p.say("  curl %s%s%s", host, s.Gateways[0].HTTP, path)
		p.say("  %s call -n 200 %s%s", name, host, path)
	}
	if w, url := sample(s, set); w != "" {
		p.say("  %s call --from %s %s", name, w, url)
	}
	p.say("  %s apply -f FILE     %s get vs     %s proxy-status", name, name, name)
	p.say("what Envoys and programs write: %s", filepath.Join(s.Dir, "logs"))
	p.say("Ctrl-C ends the mesh and leaves nothing behind.")
}

// programName is what the user types: the base name if that is the one on PATH.
func programName(executable string) string {
	if i := strings.LastIndexByte(executable, '/'); i >= 0 {
		dir, base := executable[:i], executable[i+1:]
		if slices.Contains(strings.Split(os.Getenv("PATH"), ":"), dir) {
			return base
		}
		if wd, err := os.Getwd(); err == nil && strings.HasPrefix(executable, wd+"/") {
			return executable[len(wd)+1:]
		}
	}
	return executable
}

// seconds formats a duration as "2.1s".
func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
