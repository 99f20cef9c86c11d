package istio

import (
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// The rules here are Envoy's: it would reject a whole virtual host, or cluster, for one value that breaks them.

// maxHeader is the longest name or value of a header edit that Envoy takes, in bytes.
const maxHeader = 16384

// maxUnixPath is the longest path of a Unix socket, in bytes.
const maxUnixPath = 107

// maxProgram bounds what RE2 makes of a regular expression, in instructions. Istio's bootstrap and ours set Envoy's own
// limit, re2.max_program_size.error_level, to 32768; RE2's count differs a little from ours.
const maxProgram = 24_000

// line checks a value that becomes a header's: no control character that would end it.
func (v *validator) line(path, s string) bool {
	i := strings.IndexAny(s, "\x00\r\n")
	if i < 0 {
		return true
	}
	v.fail(path, fmt.Sprintf("holds the control character %q, which no header may", s[i:i+1]), "write it in one line")
	return false
}

// headerValue checks what a header is set to: plain text, in which %COMMAND% stands for a property of the request.
func (v *validator) headerValue(path, name, s string) {
	switch {
	case len(name) > maxHeader || len(s) > maxHeader:
		v.fail(path, fmt.Sprintf("longer than %d bytes, the most that Envoy takes", maxHeader), "")
	case !v.line(path, s), strings.HasPrefix(name, ":"), strings.EqualFold(name, "host"): // a host is no format
	default:
		v.format(path, s)
	}
}

var command = regexp.MustCompile(`^%([A-Z][A-Z0-9_]*)(\(([^)]*)\))?(:[0-9]+)?%`)

// format checks Envoy's substitution commands.
func (v *validator) format(path, s string) {
	for i := strings.IndexByte(s, '%'); i >= 0; i = strings.IndexByte(s, '%') {
		s = s[i:]
		if strings.HasPrefix(s, "%%") {
			s = s[2:]
			continue
		}
		m := command.FindStringSubmatch(s)
		switch {
		case m == nil:
			v.fail(path, "'%' begins one of Envoy's commands, and none follows", "write %% for a percent sign")
			return
		case slices.Contains(commandsWith(), m[1]) && m[3] != "", slices.Contains(commandsWithout(), m[1]) && m[2] == "":
		case slices.Contains(commandsWith(), m[1]):
			v.fail(path, fmt.Sprintf("%%%s%% needs an argument", m[1]), fmt.Sprintf("write %%%s(name)%%", m[1]))
			return
		default:
			fix := "write %% for a percent sign"
			if near := nearest.Of(m[1], slices.Concat(commandsWith(), commandsWithout())); near != "" {
				fix = "did you mean %" + near + "%?"
			}
			v.fail(path, fmt.Sprintf("%s is not one of Envoy's commands", m[0]), fix)
			return
		}
		s = s[len(m[0]):]
	}
}

// backReference finds \N of a regular expression's rewrite.
var backReference = regexp.MustCompile(`\\(.?)`)

// substitution checks the rewrite that goes with a regular expression.
func (v *validator) substitution(path, match, rewrite string) {
	if !v.line(path, rewrite) {
		return
	}
	re, err := regexp.Compile(match)
	if err != nil {
		return // said where it stands
	}
	for _, ref := range backReference.FindAllStringSubmatch(rewrite, -1) {
		switch c := ref[1]; {
		case c == `\`:
		case len(c) == 1 && c[0] >= '0' && c[0] <= '9' && int(c[0]-'0') <= re.NumSubexp():
		default:
			v.fail(path, fmt.Sprintf("%q is no group of %q", ref[0], match), `write \1 for the first group, \\ for a backslash`)
			return
		}
	}
}

// weights checks that Envoy can add up the weights of a route.
func (v *validator) weights(path string, sum int64) {
	if sum > math.MaxUint32 {
		v.fail(path, fmt.Sprintf("the weights add up to %d; at most %d are allowed", sum, uint32(math.MaxUint32)), "write percentages")
	}
}

// re2 tells what Go's regular expressions have and Envoy's, over bytes, do not; "" if nothing.
func re2(s string) string {
	for i := 0; i+1 < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		rest := s[i+1:]
		switch s[i] {
		case 'Q':
			end := strings.Index(rest, `\E`)
			if end < 0 {
				return ""
			}
			i += end + 2
		case 'x':
			if name, _, ok := strings.Cut(strings.TrimPrefix(rest, "{"), "}"); ok && rest[0] == '{' && len(strings.TrimLeft(name, "0")) > 2 {
				return fmt.Sprintf(`\x{%s}: Envoy matches bytes, so at most \xFF`, name)
			}
		case 'p', 'P':
			name := ""
			if strings.HasPrefix(rest, "{") {
				name, _, _ = strings.Cut(rest[1:], "}")
			} else if rest != "" {
				name = rest[:1]
			}
			if name = strings.TrimPrefix(name, "^"); !unicodeClass(name) {
				return fmt.Sprintf("Envoy knows no character class %q", name)
			}
		}
	}
	return ""
}

// unicodeClass tells whether RE2 knows the class: general categories by their short names, and scripts.
func unicodeClass(name string) bool {
	_, category := unicode.Categories[name]
	_, script := unicode.Scripts[name]
	return name == "Any" || script || category && len(name) <= 2 && name != "LC" && name != "Cn"
}

// programSize estimates RE2's instructions: one for each range of bytes.
func programSize(s string) int {
	parsed, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return 0
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0
	}
	n := 0
	for _, inst := range prog.Inst {
		n++
		for i := 2; i < len(inst.Rune) && inst.Rune[i] <= 0xff; i += 2 {
			n++
		}
	}
	return n
}

// endpointWeights checks that Envoy can add up the weights of the endpoints of a cluster.
func (v *validator) endpointWeights(endpoints []*networking.WorkloadEntry) {
	sum := int64(0)
	for _, e := range endpoints {
		sum += int64(max(e.GetWeight(), 1))
	}
	v.weights("spec.endpoints", sum)
}
