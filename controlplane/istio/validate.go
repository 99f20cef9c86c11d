package istio

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// The rules here are Istio's own (pkg/config/validation), for the fields that Mizzen supports; a value that Istio takes and
// that then does less than it seems to is a Warning with CodeTrap.

// maxRegex is the longest regular expression that Istio lets pass, in characters.
const maxRegex = 1024

// validator collects what is wrong with one object.
type validator struct {
	meta  *Meta
	diags Diagnostics
}

func (v *validator) add(code string, s Severity, path, message, fix string) {
	v.diags = append(v.diags, Diagnostic{Code: code, Severity: s, Object: v.meta.Ref, Position: v.meta.At(path), Path: path, Message: message, Fix: fix})
}

func (v *validator) fail(path, message, fix string) { v.add(CodeSchema, Error, path, message, fix) }

func (v *validator) trap(path, message, fix string) { v.add(CodeTrap, Warning, path, message, fix) }

func (v *validator) note(path, message, fix string) { v.add(CodeTrap, Info, path, message, fix) }

// has says whether the user wrote path, which a zero value does not tell.
func (v *validator) has(path string) bool {
	_, ok := v.meta.Places[path]
	return ok
}

// required reports an empty string.
func (v *validator) required(path, value string) bool {
	if value == "" {
		parent := parentPath(path)
		v.fail(path, strings.TrimPrefix(path[len(parent):], ".")+" is required", "")
	}
	return value != ""
}

// positive checks a duration that must be at least a millisecond, in whole milliseconds. Nil passes.
func (v *validator) positive(path string, d *durationpb.Duration, zero string) {
	if d == nil {
		return
	}
	switch got := d.AsDuration(); {
	case got < time.Millisecond:
		v.fail(path, fmt.Sprintf("must be at least 1ms, got %s", got), zero)
	case got%time.Millisecond != 0:
		v.fail(path, fmt.Sprintf("must be whole milliseconds, got %s", got), "")
	}
}

// within checks a number's range.
func (v *validator) within(path string, n, low, high int64) {
	if n < low || n > high {
		v.fail(path, fmt.Sprintf("must be %d to %d, got %d", low, high, n), "")
	}
}

func (v *validator) notNegative(path string, n int32) {
	if n < 0 {
		v.fail(path, fmt.Sprintf("must not be negative, got %d", n), "")
	}
}

func (v *validator) port(path string, n uint32) { v.within(path, int64(n), 1, 65535) }

// percent checks Istio's Percent: 0, or 0.0001 to 100.
func (v *validator) percent(path string, p *networking.Percent) {
	if x := p.GetValue(); x != 0 && (x < 0.0001 || x > 100) {
		v.fail(path, fmt.Sprintf("must be 0 or 0.0001 to 100, got %v", x), "")
	}
}

// regex checks a regular expression as Envoy's RE2 and Istio take it.
func (v *validator) regex(path, s string) {
	if len(s) > maxRegex {
		v.fail(path, fmt.Sprintf("a regular expression of %d characters; at most %d are allowed", len(s), maxRegex), "")
		return
	}
	if _, err := regexp.Compile(s); err != nil {
		v.fail(path, "not a regular expression (RE2): "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "")
		return
	}
	if why := re2(s); why != "" {
		v.fail(path, "not a regular expression (RE2): "+why, "")
		return
	}
	if n := programSize(s); n > maxProgram {
		v.fail(path, fmt.Sprintf("too large a regular expression: about %d steps, at most %d are allowed", n, maxProgram), "repeat less")
	}
}

// exportTo checks visibility: "*", "." or namespaces, and "~" where none allows it.
func (v *validator) exportTo(entries []string, none bool) { v.exports("spec.exportTo", entries, none) }

func (v *validator) exports(field string, entries []string, none bool) {
	seen := map[string]bool{}
	for i, e := range entries {
		path := index(field, i)
		key := e
		if e == "." {
			key = v.meta.Namespace
		}
		switch {
		case e == "":
			v.fail(path, "empty entry", `write "*", "." or a namespace`)
		case e == "~" && !none:
			v.fail(path, `"~" (nobody) is for ServiceEntry only`, `write "." for this namespace only`)
		case (e == "*" || e == "~") && len(entries) > 1:
			v.fail(path, fmt.Sprintf("%q says all: nothing else may stand beside it", e), "")
		case e != "*" && e != "." && e != "~" && !label(e):
			v.fail(path, fmt.Sprintf("%q is not a namespace", e), `write "*", "." or a namespace`)
		case seen[key]:
			v.fail(path, fmt.Sprintf("%q stands twice", e), "keep one")
		}
		seen[key] = true
	}
}

// labels checks label keys and values.
func (v *validator) labels(path string, labels map[string]string) {
	for _, k := range sortedKeys(labels) {
		if !labelKey(k) {
			v.fail(join(path, k), fmt.Sprintf("%q is not a label's name", k), "")
		}
		if !labelValue(labels[k]) {
			v.fail(join(path, k), fmt.Sprintf("%q is not a label's value", labels[k]), "")
		}
	}
}

// label is a DNS-1123 label.
func label(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func labelValue(s string) bool {
	if s == "" {
		return true
	}
	word := func(b byte) bool { return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' }
	if len(s) > 63 || !word(s[0]) || !word(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if !word(s[i]) && !strings.ContainsRune("-_.", rune(s[i])) {
			return false
		}
	}
	return true
}

func labelKey(s string) bool {
	if prefix, name, ok := strings.Cut(s, "/"); ok {
		return hostname(prefix) && name != "" && labelValue(name)
	}
	return s != "" && labelValue(s)
}

// hostname is a DNS name without wildcard; case does not matter, a trailing dot is no part of it.
func hostname(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for part := range strings.SplitSeq(strings.ToLower(s), ".") {
		if !label(strings.Trim(part, "_")) { // Istio lets underscores pass at the ends, as SRV names have them
			return false
		}
	}
	return true
}

// wildcard is a hostname whose first label may be "*", or "*" alone.
func wildcard(s string) bool {
	return s == "*" || hostname(strings.TrimPrefix(s, "*."))
}

func isIP(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// headerName is an RFC 9110 token.
func headerName(s string) bool {
	for _, r := range s {
		if r > 'z' && r != '|' && r != '~' || r < '!' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) {
			return false
		}
	}
	return s != ""
}

// protocol says whether Istio knows a port's protocol, in any case.
func protocol(s string) bool {
	switch strings.ToUpper(s) {
	case "HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP", "MONGO", "MYSQL", "REDIS", "UDP", "HTTP_PROXY", "HBONE":
		return true
	}
	return false
}

func protocols() []string {
	return []string{"HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP"}
}

// portProtocol checks the protocol of a port.
func (v *validator) portProtocol(path, p string) {
	if p == "" || protocol(p) {
		return
	}
	fix := "write one of " + strings.Join(protocols(), ", ")
	if near := nearest.Of(p, protocols()); near != "" {
		fix = "did you mean " + near + "?"
	}
	v.fail(path, fmt.Sprintf("unknown protocol %q", p), fix)
}
