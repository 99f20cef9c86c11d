package istio

import (
	"strings"
	"testing"
)

// What Envoy would refuse is an error where it stands, and nothing near it is.
func TestWhatEnvoyRefuses(t *testing.T) {
	route := func(s string) string {
		return "kind: VirtualService\nmetadata: {name: x}\nspec: {hosts: [a], http: [{" + s + ", route: [{destination: {host: a}}]}]}"
	}
	set := func(value string) string { return route(`headers: {request: {set: {x-a: "` + value + `"}}}`) }
	regex := func(r string) string { return route(`match: [{uri: {regex: '` + r + `'}}]`) }
	rewrite := func(r string) string {
		return route(`rewrite: {uriRegexRewrite: {match: "/(a)", rewrite: '` + r + `'}}`)
	}
	entry := func(s string) string {
		return "kind: ServiceEntry\nmetadata: {name: x}\nspec: {hosts: [a.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [" + s + "]}"
	}
	core := func(s string) string { return "kind: Service\nmetadata: {name: x}\nspec: {" + s + "}" }
	for yaml, want := range map[string]string{
		set(`100%`):         "write %% for a percent sign",
		set(`50% of 70%`):   "write %% for a percent sign",
		set(`50%% of 70%%`): "",
		set(`%NOPE%`):       "not one of Envoy's commands",
		set(`%REQ%`):        "needs an argument",
		set(`%REQ(x-b)% %REQ(x?y):10% %START_TIME(%s)%`):               "",
		set(`%DOWNSTREAM_REMOTE_ADRESS%`):                              "did you mean %DOWNSTREAM_REMOTE_ADDRESS%?",
		set(`%DOWNSTREAM_REMOTE_ADDRESS%`):                             "",
		set(`a\nb`):                                                    "control character",
		set(strings.Repeat("a", 16385)):                                "longer than 16384 bytes",
		route(`rewrite: {authority: "a\nb"}`):                          "control character",
		route(`rewrite: {uri: "/a\0b"}`):                               "control character",
		rewrite(`/\2`):                                                 "is no group",
		rewrite(`/\k`):                                                 "is no group",
		rewrite(`/\\\1`):                                               "",
		regex(`/\p{Letter}`):                                           `no character class "Letter"`,
		regex(`/\p{ASCII}`):                                            `no character class "ASCII"`,
		regex(`/\p{Greek}\pL\P{^Lu}\Q\p{X}\E`):                         "",
		regex(`/\x{10FFFF}`):                                           `at most \xFF`,
		regex(`/\x{0041}\xff`):                                         "",
		regex(`(` + strings.Repeat(`\pL{1000}`, 100) + `)`):            "too large a regular expression",
		entry(`{address: "fe80::1%eth0"}`):                             "is not an IP address",
		entry(`{address: "unix:///` + strings.Repeat("a", 107) + `"}`): "at most 107",
		entry(`{address: 1.2.3.4, weight: 4294967295}, {address: 1.2.3.5, weight: 4294967295}`): "add up to",
		core(`ports: [{port: 70000}]`):                                            "must be 1 to 65535",
		core(`ports: [{port: 80, name: a}, {port: 80, name: b}]`):                 "stands twice",
		core(`ports: [{port: 53, name: a}, {port: 53, name: b, protocol: UDP}]`):  "",
		core(`clusterIP: garbage, ports: [{port: 80}]`):                           "is not an IP address",
		core(`type: ExternalName, externalName: "a b", ports: [{port: 80}]`):      "is not a host",
		"kind: Pod\nmetadata: {name: x}\nstatus: {podIP: garbage}":                "is not an IP address",
		"kind: Endpoints\nmetadata: {name: x}\nsubsets: [{addresses: [{ip: x}]}]": "is not an IP address",
	} {
		group := "networking.istio.io/v1"
		if !strings.Contains(yaml, "VirtualService") && !strings.Contains(yaml, "ServiceEntry") {
			group = "v1"
		}
		_, diags := Decode("x.yaml", strings.NewReader("apiVersion: "+group+"\n"+yaml))
		var errs []string
		for _, d := range diags {
			if d.Severity == Error {
				errs = append(errs, d.String())
			}
		}
		got := strings.Join(errs, "\n")
		if want == "" && got != "" || want != "" && (len(errs) != 1 || !strings.Contains(got, want) || !strings.Contains(got, "x.yaml:4")) {
			t.Errorf("%.200s\nwant an error with %q, got %s", yaml, want, got)
		}
	}
}
