package match_test

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

func ptr(s string) *string { return &s }

func exact(s string) *match.String  { return &match.String{Exact: ptr(s)} }
func prefix(s string) *match.String { return &match.String{Prefix: ptr(s)} }
func regex(s string) *match.String  { return &match.String{Regex: ptr(s)} }

func inverted(s match.String) match.String {
	s.Invert = true
	return s
}

func named(name string, s match.String) []match.Named { return []match.Named{{Name: name, String: s}} }

func TestMatches(t *testing.T) {
	get := []string{":path: /shop/cart?user=ann&debug&x=1&x=2", ":authority: Shop.Example:8080",
		"x-user: ann", "accept: a", "accept: b", "x-empty:", "cookie: lang=de; side=v2", `cookie: q="quoted"; side=v9`}
	for _, c := range []struct {
		name string
		r    match.Request
		want bool
	}{
		{"zero matches everything", match.Request{}, true},
		{"path is without its query", match.Request{Path: exact("/shop/cart")}, true},
		{"path exact is the whole path", match.Request{Path: exact("/shop")}, false},
		{"path prefix", match.Request{Path: prefix("/shop")}, true},
		{"path prefix does not reach the query", match.Request{Path: prefix("/shop/cart?user")}, false},
		{"path prefix case", match.Request{Path: prefix("/SHOP")}, false},
		{"path prefix ignoring case", match.Request{Path: prefix("/SHOP"), IgnorePathCase: true}, true},
		{"path exact ignoring case", match.Request{Path: exact("/Shop/Cart"), IgnorePathCase: true}, true},
		{"path regex does not ignore case", match.Request{Path: regex("/SHOP/[a-z]+"), IgnorePathCase: true}, false},
		{"path regex matches the whole", match.Request{Path: regex("/shop")}, false},
		{"path regex", match.Request{Path: regex("/[a-z]+/c(art|heckout)")}, true},
		{"regex alternatives stay inside", match.Request{Path: regex("/shop|/shop/cart")}, true},
		{"regex alternatives are anchored each", match.Request{Path: regex("/shop|art")}, false},
		{"method", match.Request{Method: exact("GET")}, true},
		{"method differs", match.Request{Method: exact("POST")}, false},
		{"scheme", match.Request{Scheme: exact("http")}, true},
		{"authority is as it came", match.Request{Authority: exact("Shop.Example:8080")}, true},
		{"authority has its port", match.Request{Authority: exact("Shop.Example")}, false},
		{"authority has its case", match.Request{Authority: exact("shop.example:8080")}, false},
		{"all must hold", match.Request{Method: exact("GET"), Path: exact("/other")}, false},

		{"header exact", match.Request{Headers: named("x-user", *exact("ann"))}, true},
		{"header name in capitals", match.Request{Headers: named("X-User", *exact("ann"))}, true},
		{"header value case", match.Request{Headers: named("x-user", *exact("Ann"))}, false},
		{"header suffix", match.Request{Headers: named("x-user", match.String{Suffix: ptr("nn")})}, true},
		{"repeated header is not joined", match.Request{Headers: named("accept", *exact("a,b"))}, false},
		{"repeated header, first value", match.Request{Headers: named("accept", *exact("a"))}, true},
		{"repeated header, last value", match.Request{Headers: named("accept", *exact("b"))}, true},
		{"repeated header, inverted: none may be it", match.Request{Headers: named("accept", inverted(*exact("b")))}, false},
		{"repeated header, inverted", match.Request{Headers: named("accept", inverted(*exact("c")))}, true},
		{"header present", match.Request{Headers: named("x-user", match.String{Present: true})}, true},
		{"empty header is present", match.Request{Headers: named("x-empty", match.String{Present: true})}, true},
		{"empty header is exactly empty", match.Request{Headers: named("x-empty", *exact(""))}, true},
		{"header not present", match.Request{Headers: named("x-none", match.String{Present: true})}, false},
		{"present inverted", match.Request{Headers: named("x-none", match.String{Present: true, Invert: true})}, true},
		{"header absent", match.Request{Headers: named("x-none", match.String{Absent: true})}, true},
		{"header not absent", match.Request{Headers: named("x-user", match.String{Absent: true})}, false},
		{"absent inverted", match.Request{Headers: named("x-user", match.String{Absent: true, Invert: true})}, true},
		{"inverted", match.Request{Headers: named("x-user", match.String{Exact: ptr("bob"), Invert: true})}, true},
		{"inverted of what is", match.Request{Headers: named("x-user", match.String{Exact: ptr("ann"), Invert: true})}, false},
		{"inverted on a missing header, as Envoy", match.Request{Headers: named("x-none", match.String{Exact: ptr("a"), Invert: true})}, false},
		{"withoutHeaders on a missing header", match.Request{Headers: named("x-none", match.String{Exact: ptr("a"), Invert: true, AbsentAsEmpty: true})}, true},
		{"missing as empty", match.Request{Headers: named("x-none", match.String{Exact: ptr(""), AbsentAsEmpty: true})}, true},
		{"missing is not empty", match.Request{Headers: named("x-none", *exact(""))}, false},
		{"regex on a missing header", match.Request{Headers: named("x-none", *regex(".*"))}, false},
		{"pseudo header", match.Request{Headers: named(":path", *prefix("/shop/cart?user=ann"))}, true},

		{"query", match.Request{Query: named("user", *exact("ann"))}, true},
		{"query without =", match.Request{Query: named("debug", *exact(""))}, true},
		{"query first value", match.Request{Query: named("x", *exact("1"))}, true},
		{"query second value", match.Request{Query: named("x", *exact("2"))}, false},
		{"query missing", match.Request{Query: named("nope", match.String{Present: true})}, false},
		{"query name is whole", match.Request{Query: named("use", match.String{Present: true})}, false},

		{"cookie", match.Request{Cookies: named("lang", *exact("de"))}, true},
		{"cookie first of two headers", match.Request{Cookies: named("side", *exact("v2"))}, true},
		{"cookie loses its quotes", match.Request{Cookies: named("q", *exact("quoted"))}, true},
		{"cookie case", match.Request{Cookies: named("Lang", match.String{Present: true})}, false},
		{"cookie absent", match.Request{Cookies: named("none", match.String{Absent: true})}, true},
		{"cookie inverted and missing, as Envoy", match.Request{Cookies: named("none", match.String{Exact: ptr("a"), Invert: true})}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := match.Compile(c.r)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Matches(filtertest.NewExchange(get...).Request); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// Expressions that are turned into string searches answer as the regular expression would.
func TestRegexShortcuts(t *testing.T) {
	for _, expr := range []string{"abc", "^abc$", ".*abc", "abc.*", ".*abc.*", "^.*abc.*$", ".*", ".*.*", "", "a.c", `a\.c`, "(abc)", ".*abc.+", ".abc", "..*", "^", "$", `.*\.*`, `a\$`, `\^a`} {
		fast, err := match.Compile(match.Request{Headers: named("x", *regex(expr))})
		if err != nil {
			t.Fatal(err)
		}
		slow, err := match.Compile(match.Request{Headers: named("x", *regex("(" + expr + ")"))})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"", "abc", "xabc", "abcx", "xabcx", "a.c", "axc", "xx", ".", "..", "a$", "^a"} {
			h := filtertest.Headers("x: " + v)
			if f, s := fast.Matches(h), slow.Matches(h); f != s {
				t.Errorf("%q on %q: %v, the expression says %v", expr, v, f, s)
			}
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		r    match.Request
		want string
	}{
		{"no condition", match.Request{Path: &match.String{}}, "path: has no condition; write exactly one of"},
		{"two conditions", match.Request{Method: &match.String{Exact: ptr("a"), Prefix: ptr("b")}}, "method: has exact and prefix; write exactly one"},
		{"bad regex", match.Request{Headers: named("x", *regex("a("))}, "headers[0]: regex \"a(\""},
		{"lookahead", match.Request{Headers: named("x", *regex("(?=a)"))}, "RE2"},
		{"closing the group", match.Request{Headers: named("x", *regex("a)(b"))}, "headers[0]: regex"},
		{"no name", match.Request{Cookies: named("", *exact("a"))}, "cookies[0].name: is empty"},
		{"bad header name", match.Request{Headers: named("x user", *exact("a"))}, "headers[0].name: \"x user\" holds \" \""},
		{"bad cookie name", match.Request{Cookies: named("a=b", *exact("a"))}, "holds \"=\""},
		{"bad query name", match.Request{Query: named("a&b", *exact("a"))}, "query[0].name"},
	} {
		_, err := match.Compile(c.r)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.want)
		}
	}
	if _, err := match.CompileAny([]match.Request{{}, {Path: &match.String{}}}); err == nil || !strings.HasPrefix(err.Error(), "match[1].path:") {
		t.Errorf("CompileAny: %v", err)
	}
}

func TestAnyFirst(t *testing.T) {
	h := filtertest.NewExchange("x: 1").Request
	one := match.Request{Headers: named("x", *exact("1"))}
	none := match.Request{Headers: named("x", *exact("2"))}
	for _, c := range []struct {
		rs   []match.Request
		want int
	}{{nil, 0}, {[]match.Request{one}, 0}, {[]match.Request{none, one, one}, 1}, {[]match.Request{none}, -1}} {
		a, err := match.CompileAny(c.rs)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.First(h); got != c.want || a.Matches(h) != (c.want >= 0) || a.Len() != len(c.rs) {
			t.Errorf("%d requests: First %d, want %d", len(c.rs), got, c.want)
		}
	}
}

func TestMatchesAllocatesNothing(t *testing.T) {
	m, h := benchmarkMatcher(t)
	if n := testing.AllocsPerRun(100, func() { m.Matches(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchmarkMatcher(t testing.TB) (*match.Matcher, *filter.Headers) {
	m, err := match.Compile(match.Request{
		Path:    prefix("/shop"),
		Method:  exact("GET"),
		Headers: named("user-agent", *regex(".*Firefox.*")),
		Cookies: named("side", *exact("v2")),
		Query:   named("user", match.String{Present: true}),
	})
	if err != nil {
		t.Fatal(err)
	}
	x := filtertest.NewExchange(":path: /shop/cart?user=ann", "accept: */*", "user-agent: Mozilla/5.0 Firefox/140.0",
		"x-request-id: 8f1d8f5e-2b3c-4d5e-8f90-123456789abc", "x-forwarded-proto: http", "cookie: lang=de; side=v2")
	return m, x.Request
}

func BenchmarkMatches(b *testing.B) {
	m, h := benchmarkMatcher(b)
	b.ReportAllocs()
	for b.Loop() {
		m.Matches(h)
	}
}

func BenchmarkMatchesRegex(b *testing.B) {
	m, err := match.Compile(match.Request{Headers: named("user-agent", *regex("[A-Za-z]+/5[.]0 (Firefox|Chrome)/.*"))})
	if err != nil {
		b.Fatal(err)
	}
	_, h := benchmarkMatcher(b)
	b.ReportAllocs()
	for b.Loop() {
		m.Matches(h)
	}
}
