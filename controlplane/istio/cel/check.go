package cel

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// attributes are Envoy's, with their members where these are fixed; nil: anything.
func attributes() map[string][]string {
	certificate := strings.Fields("tls_version subject_local_certificate subject_peer_certificate uri_san_local_certificate " +
		"uri_san_peer_certificate dns_san_local_certificate dns_san_peer_certificate sha256_peer_certificate_digest")
	return map[string][]string{
		"request":  strings.Fields("path url_path host scheme method headers referer time id useragent size total_size duration protocol query"),
		"response": strings.Fields("code code_details headers trailers flags grpc_status size total_size backend_latency"),
		"connection": append(strings.Fields("id mtls requested_server_name termination_details transport_failure_reason "+
			"peer_certificate peer_certificate_valid"), certificate...),
		"upstream": append(strings.Fields("address port local_address locality transport_failure_reason request_attempt_count "+
			"cx_pool_ready_duration num_endpoints server_name"), certificate...),
		"source":      {"address", "port"},
		"destination": {"address", "port"},
		"xds": strings.Fields("node cluster_name cluster_metadata route_name route_metadata virtual_host_name virtual_host_metadata " +
			"upstream_host_metadata upstream_host_locality_metadata filter_chain_name listener_metadata listener_direction"),
		"metadata": nil, "filter_state": nil, "upstream_filter_state": nil,
	}
}

// function is one that Envoy's runtime has. Args do not count a method's object.
type function struct {
	args   int
	method bool
	// texts: it makes text, which Envoy allows to a filter only, where it is asked to.
	texts bool
}

func functions() map[string][]function {
	out := map[string][]function{
		"size": {{1, false, false}, {0, true, false}}, "matches": {{2, false, false}, {1, true, false}},
		"int": {{1, false, false}}, "uint": {{1, false, false}}, "double": {{1, false, false}}, "string": {{1, false, true}},
		"duration": {{1, false, false}}, "timestamp": {{1, false, false}},
		"contains": {{1, true, false}}, "startsWith": {{1, true, false}}, "endsWith": {{1, true, false}},
		"lowerAscii": {{0, true, true}}, "upperAscii": {{0, true, true}}, "replace": {{2, true, true}}, "split": {{1, true, true}},
	}
	for _, name := range strings.Fields("getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds") {
		out[name] = []function{{0, true, false}, {1, true, false}}
	}
	return out
}

// macros are those of CEL that Envoy switches off.
var macros = [...]string{"all", "exists", "exists_one", "map", "filter"}

// check finds what Envoy's runtime has not. texts: text may be made.
func check(n *node, texts bool) *Error {
	switch n.kind {
	case identNode:
		if _, ok := attributes()[n.text]; !ok {
			return n.fail(fmt.Sprintf("no attribute %q", n.text), "there are "+strings.Join(slices.Sorted(maps.Keys(attributes())), ", "))
		}
	case selectNode:
		if members := attributes()[n.args[0].text]; n.args[0].kind == identNode && members != nil && !slices.Contains(members, n.text) {
			return n.fail(fmt.Sprintf("%s has no %s", n.args[0].text, n.text), "it has "+strings.Join(members, ", "))
		}
	case callNode:
		return checkCall(n, texts)
	case stringNode:
		return checkString(n)
	case binaryNode:
		if !texts && n.text == "+" && n.joins() {
			return n.fail("texts are put together inside an expression, which Envoy allows in filters only", "put them together outermost: 'a' + (x ? y : z)")
		}
	case numberNode:
		if !validNumber(n.text) {
			return n.fail(n.text+" is no number", "")
		}
	}
	for _, a := range n.args {
		if err := check(a, texts); err != nil {
			return err
		}
	}
	return nil
}

func checkCall(n *node, texts bool) *Error {
	if n.text == "has" && !n.method {
		if len(n.args) != 1 || n.args[0].kind != selectNode {
			return n.fail("has asks about one member by its name", "write has(request.headers.name), or 'x-name' in request.headers")
		}
		return check(n.args[0], texts)
	}
	if n.method && slices.Contains(macros[:], n.text) {
		return n.fail(n.text+" is switched off in Envoy: no expression goes through a list", "name the members one by one")
	}
	given := len(n.args)
	if n.method {
		given--
	}
	forms := functions()[n.text]
	i := slices.IndexFunc(forms, func(f function) bool { return f.method == n.method && f.args == given })
	switch {
	case forms == nil:
		return n.fail("no function "+n.text, "there are has, "+strings.Join(slices.Sorted(maps.Keys(functions())), ", "))
	case i < 0:
		return n.fail(fmt.Sprintf("%s takes no %d arguments in this form", n.text, given), "")
	case forms[i].texts && !texts:
		return n.fail(n.text+" makes text, which Envoy allows in filters only", "")
	}
	if n.text == "matches" {
		if err := checkRegex(n.args[len(n.args)-1]); err != nil {
			return err
		}
	}
	for _, a := range n.args {
		if err := check(a, texts); err != nil {
			return err
		}
	}
	return nil
}

// maxRegex is far within what Envoy allows a regular expression of CEL to grow to: 100 steps of RE2.
const maxRegex = 40

// checkRegex: Envoy compiles a literal when it takes the configuration.
func checkRegex(n *node) *Error {
	if n.kind != stringNode {
		return nil
	}
	text, ok := literal(n.text)
	if !ok {
		return n.fail("not a string", "")
	}
	if _, err := regexp.Compile(text); err != nil {
		return n.fail("not a regular expression (RE2): "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "")
	}
	if size := len(text) + 8*strings.Count(text, ".") + 10*strings.Count(text, "\\") + 4*strings.Count(text, "["); size > 2*maxRegex || strings.ContainsAny(text, "{") {
		return n.fail("too large a regular expression for Envoy's filters", "write startsWith, endsWith or contains")
	}
	return nil
}

func validNumber(s string) bool {
	switch {
	case strings.HasSuffix(s, "u") || strings.HasSuffix(s, "U"):
		_, err := strconv.ParseUint(s[:len(s)-1], 0, 64)
		return err == nil && !octal(s)
	case strings.ContainsAny(s, ".") || strings.ContainsAny(s, "eE") && !strings.HasPrefix(s, "0x"):
		_, err := strconv.ParseFloat(s, 64)
		return err == nil
	}
	_, err := strconv.ParseInt(s, 0, 64)
	return err == nil || octal(s)
}

// octal: Go reads 010 as eight, and CEL as ten.
func octal(s string) bool { return len(s) > 1 && s[0] == '0' && s[1] != 'x' && s[1] != 'X' }

func checkString(n *node) *Error {
	if _, ok := literal(n.text); !ok {
		return n.fail("a string with an escape that CEL has not", `write \\ for a backslash, or r"..." for a string as it stands`)
	}
	return nil
}

// literal is the value of a string literal; false if an escape is wrong.
func literal(s string) (string, bool) {
	raw := false
	for s != "" && s[0] != '"' && s[0] != '\'' {
		raw = raw || s[0]|32 == 'r'
		s = s[1:]
	}
	n := 1
	if len(s) >= 6 && (strings.HasPrefix(s, `"""`) || strings.HasPrefix(s, `'''`)) {
		n = 3
	}
	s = s[n : len(s)-n]
	if raw || !strings.Contains(s, `\`) {
		return s, true
	}
	var b strings.Builder
	for s != "" {
		if !strings.HasPrefix(s, `\`) {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if len(s) > 1 && strings.IndexByte("?`\"'", s[1]) >= 0 {
			b.WriteByte(s[1])
			s = s[2:]
			continue
		}
		r, wide, rest, err := strconv.UnquoteChar(strings.Replace(s, `\X`, `\x`, 1), 0)
		if err != nil {
			return "", false
		}
		if wide {
			b.WriteRune(r)
		} else {
			b.WriteByte(byte(r))
		}
		s = rest
	}
	return b.String(), true
}
