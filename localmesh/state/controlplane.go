package state

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
)

// World asks what configuration the control plane has read.
func (c ControlPlane) World(ctx context.Context) (w server.Summary, err error) {
	return w, c.get(ctx, "/debug/worldz", &w)
}

// Proxies asks which proxies are connected and what they have acknowledged.
func (c ControlPlane) Proxies(ctx context.Context) (p []server.ProxyStatus, err error) {
	return p, c.get(ctx, "/debug/syncz", &p)
}

// Diagnostics asks what proxies have rejected.
func (c ControlPlane) Diagnostics(ctx context.Context) (istio.Diagnostics, error) {
	var raw json.RawMessage
	if err := c.get(ctx, "/debug/diagnostics", &raw); err != nil {
		return nil, err
	}
	return ReadDiagnostics(raw)
}

// ReadDiagnostics reads what a control plane's /debug/diagnostics says.
func ReadDiagnostics(raw []byte) (istio.Diagnostics, error) {
	var in []diagnostic
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("ask control plane: /debug/diagnostics: %w", err)
	}
	out := make(istio.Diagnostics, len(in))
	for i, d := range in {
		out[i] = istio.Diagnostic{Code: d.Code, Object: d.Object, Position: d.Position, Path: d.Path, Message: d.Message, Fix: d.Fix}
		for _, s := range []istio.Severity{istio.Info, istio.Warning, istio.Error} {
			if s.String() == d.Severity {
				out[i].Severity = s
			}
		}
	}
	return out, nil
}

// diagnostic is istio.Diagnostic as it comes back from JSON: a Severity is written as a word, but not read from one.
type diagnostic struct {
	Code     string         `json:"code"`
	Severity string         `json:"severity"`
	Object   istio.Ref      `json:"object"`
	Position istio.Position `json:"position"`
	Path     string         `json:"path"`
	Message  string         `json:"message"`
	Fix      string         `json:"fix"`
}

// get decodes what a debug page says.
func (c ControlPlane) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.HTTP+path, nil)
	if err != nil {
		return fmt.Errorf("ask control plane: %w", err)
	}
	resp, err := direct.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask control plane: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask control plane: %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask control plane: %s: %w", path, err)
	}
	return nil
}

// direct goes past any HTTP_PROXY: the control plane is on this machine.
var direct = &http.Transport{MaxIdleConnsPerHost: 2}
