package caller

import "strings"

// phrases are what Envoy writes into replies of its own, with the response flag that its access log has for them. A stand-in
// quotes what its upstream said, so these also tell of a failure further down.
var phrases = [...]struct{ text, flag string }{
	{"no healthy upstream", "UH"},
	{"reset reason: overflow", "UO"},
	{"upstream request timeout", "UT"},
	{"upstream per try timeout", "UT"},
	{"connection termination", "UC"},
	{"connection failure", "UF"},
	{"connection timeout", "UF"},
	{"remote reset", "UR"},
	{"local reset", "LR"},
	{"protocol error", "UPE"},
	{"fault filter abort", "FI"},
	{"local_rate_limited", "RL"},
	{"RBAC: access denied", "UAEX"},
}

func flagOf(a Answer) string {
	if !a.Failed() {
		return "-"
	}
	for _, p := range phrases {
		if strings.Contains(a.Body, p.text) {
			return p.flag
		}
	}
	byEnvoy := strings.Contains(a.Header.Get("Server"), "envoy")
	switch {
	case a.Header.Get("X-Envoy-Overloaded") != "":
		return "UO"
	case a.Status == 429 && (a.Header.Get("X-Envoy-Ratelimited") != "" || a.Header.Get("X-Ratelimit-Limit") != ""):
		return "RL"
	case a.Status == 404 && a.Body == "" && byEnvoy:
		return "NR"
	case a.Status == 503 && a.Body == "" && byEnvoy:
		return "NC"
	}
	return "-"
}
