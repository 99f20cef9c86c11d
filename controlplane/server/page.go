package server

import (
	"bytes"
	_ "embed"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

//go:embed page.html
var pageHTML string

// frontData fills page.html.
type frontData struct {
	Version     string
	World       Summary
	Proxies     []frontProxy
	Diagnostics istio.Diagnostics
	Calls       template.HTML // our own drawing
	Pages       []page
}

type frontProxy struct {
	ProxyStatus
	Cells []frontCell
}

type frontCell struct{ State, Class, Error string }

// front is the page for reading: proxies, their state and what is wrong.
func (s *Server) front(w http.ResponseWriter, r *http.Request) {
	data := frontData{Version: s.opt.Version, World: s.summary(), Diagnostics: s.Diagnostics(), Pages: s.pages()[1:]}
	for _, p := range s.Status() {
		row := frontProxy{ProxyStatus: p}
		for k := clusters; k < kinds; k++ {
			t, ok := p.Types[k.short()]
			if !ok {
				t.State = "-"
			}
			row.Cells = append(row.Cells, frontCell{t.State, strings.ToLower(strings.ReplaceAll(t.State, " ", "")), t.Error})
		}
		data.Proxies = append(data.Proxies, row)
	}
	if s.opt.Calls != nil {
		svg, err := s.opt.Calls(r.Context(), "svg")
		if err != nil {
			s.opt.Log.Warn("cannot draw who calls whom", "error", err)
		}
		data.Calls = template.HTML(svg)
	}
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(b.Bytes())
}

// Path and About let the template read a page.
func (p page) Path() string  { return p.path }
func (p page) About() string { return p.about }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
