package annotation

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value says what an annotation's value may be. The zero value is any text.
type Value struct {
	Kind  ValueKind
	Words []string // of a Word
}

// ValueKind is the form of a value.
type ValueKind uint8

// Forms.
const (
	Text        ValueKind = iota
	Bool                  // as strconv.ParseBool reads it
	Word                  // one of Words
	Number                // a whole number from 0 up
	Port                  // 0 to 65535
	Ports                 // ports separated by commas, or none
	PortsAll              // Ports, or "*"
	Ranges                // address ranges (CIDR) separated by commas, or none
	RangesAll             // Ranges, or "*"
	Quantity              // Kubernetes' "100m", "1Gi"
	Duration              // Go's "30s"
	LogLevel              // Envoy's
	LogLevels             // "component:level,component:level"
	JSON                  // a JSON text
	ProxyConfig           // YAML of MeshConfig.ProxyConfig; Check takes any text, who has the schema reads it
)

// String names the form for people.
func (v Value) String() string {
	switch v.Kind {
	case Word:
		return strings.Join(v.Words, ", ")
	case PortsAll:
		return "ports separated by commas, or *"
	case RangesAll:
		return "address ranges separated by commas, or *"
	}
	return [...]string{"text", "true or false", "", "number", "port", "ports separated by commas", "", "address ranges separated by commas", "",
		"quantity", "duration", "log level", "component:level, separated by commas", "JSON", "YAML of ProxyConfig"}[v.Kind]
}

var quantity = regexp.MustCompile(`^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$`)

// Check says what is wrong with a value, "" if nothing is.
func (v Value) Check(s string) string {
	ok, want := true, v.String()
	switch v.Kind {
	case Bool:
		_, err := strconv.ParseBool(s)
		ok = err == nil
	case Word:
		ok, want = slices.Contains(v.Words, s), "one of "+want
	case Number:
		_, err := strconv.ParseUint(s, 10, 31)
		ok = err == nil
	case Port:
		ok = port(s, 0)
	case Ports, PortsAll:
		ok = v.Kind == PortsAll && s == "*" || each(s, func(p string) bool { return port(p, 1) })
	case Ranges, RangesAll:
		ok = v.Kind == RangesAll && s == "*" || each(s, func(r string) bool { _, err := netip.ParsePrefix(r); return err == nil })
	case Quantity:
		ok = quantity.MatchString(s)
	case Duration:
		d, err := time.ParseDuration(s)
		ok = err == nil && d >= 0
	case LogLevel:
		ok, want = level(s), "one of "+levels
	case LogLevels:
		ok = each(s, func(p string) bool { name, l, cut := strings.Cut(p, ":"); return cut && name != "" && level(l) })
	case JSON:
		ok = json.Valid([]byte(s))
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("want %s, got %q", want, s)
}

// each takes a list apart; an empty one is fine.
func each(list string, ok func(string) bool) bool {
	if strings.TrimSpace(list) == "" {
		return true
	}
	for _, s := range strings.Split(list, ",") {
		if !ok(strings.TrimSpace(s)) {
			return false
		}
	}
	return true
}

func port(s string, low uint64) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n >= low
}

const levels = "trace, debug, info, warning, error, critical, off"

func level(s string) bool {
	return s == "warn" || slices.Contains(strings.Split(levels, ", "), s)
}
