package cel

import (
	"strings"
	"testing"
)

func TestCondition(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"response.code >= 400", ""},
		{"response.code >= 400 || xds.cluster_name == 'BlackHoleCluster'", ""},
		{`!has(response.code) && request.headers["x-debug"] == "1"`, ""},
		{"request.url_path.startsWith('/api') ? response.code != 200 : true", ""},
		{"'x-a' in request.headers", ""},
		{"request.method in ['GET', 'HEAD',]", ""},
		{"request.path.matches(r'^/v[0-9]+$')", ""},
		{"string(response.code).startsWith('5')", ""},
		{"(request.path + 'x') == request.host // why", ""},
		{"-1 < response.code && request.duration > duration('10ms')", ""},
		{"metadata.filter_metadata['a']['b'] == 'c' && filter_state['k'] != ''", ""},
		{"", "says nothing"},
		{"response.code >=", "ends too early"},
		{"response.code = 400", "write =="},
		{"response.code > 1 & true", "write &&"},
		{"response.status == 1", "response has no status"},
		{"reponse.code == 1", `no attribute "reponse"`},
		{"request.headers.all(h, h == 'x')", "switched off"},
		{"lower(request.path) == ''", "no function lower"},
		{"request.path.size(1) == 1", "takes no 1 arguments"},
		{"has(request.headers['x'])", "one member by its name"},
		{"'a", "does not end"},
		{`request.path == '\q'`, "escape"},
		{"request.path.matches('(')", "not a regular expression"},
		{"1e400 == 2", "is no number"},
		{"99999999999999999999 == 2", "is no number"},
		{"'yes'", "never true or false"},
		{"(true", "ends before )"},
		{"true true", "unexpected true"},
		{"request.path == let", "reserved"},
		{strings.Repeat("(", 40) + "true" + strings.Repeat(")", 40), "nested too deep"},
	} {
		err := Condition(c.src)
		switch {
		case err == nil && c.want == "":
		case err == nil, c.want == "", !strings.Contains(err.Error()+" "+err.Fix, c.want):
			t.Errorf("Condition(%q) = %v, want %q", c.src, err, c.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"'a%b'", "a%%b"},
		{"request.host", "%CEL(request.host)%"},
		{"string(destination.port)", "%CEL(destination.port)%"},
		{"request.method + ' ' + request.url_path", "%CEL(request.method)% %CEL(request.url_path)%"},
		{"response.code == 200 ? string(response.code) : 'bad'", "%CEL(((response.code == 200) ? response.code : 'bad'))%"},
		{"node.metadata['NAMESPACE']", "%CEL(xds.node.metadata['NAMESPACE'])%"},
		{"'x-a' in request.headers ? request.headers['x-a'] : 'unknown'", "%CEL((('x-a' in request.headers) ? request.headers['x-a'] : 'unknown'))%"},
		{"upstream_peer.workload", `!no attribute "upstream_peer"`},
		{"has(request.host) ? 'a' : ')%'", "!would end the format"},
		{"has(request.host) ? 'a' + request.host : 'b'", "!in filters only"},
		{"request.path.lowerAscii()", "!allows in filters only"},
	} {
		got, err := Format(c.src)
		if bad, ok := strings.CutPrefix(c.want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("Format(%q) = %q, %v, want error %q", c.src, got, err, bad)
			}
		} else if err != nil || got != c.want {
			t.Errorf("Format(%q) = %q, %v, want %q", c.src, got, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"response.code >= 400", "a ? b : c", "r'''x''' + \"\\n\"", "[1, 0x1u, 1.5e3]", "{'a': 1}.a", "!-x[1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		n, err := parse(src)
		if err != nil {
			if err.Offset < 0 || err.Offset > len(src) {
				t.Errorf("parse(%q): offset %d", src, err.Offset)
			}
			return
		}
		again, err := parse(n.String())
		if err == nil && again.String() != n.String() {
			t.Errorf("parse(%q) = %s, again %s", src, n, again)
		}
		Condition(src)
		Format(src)
	})
}
