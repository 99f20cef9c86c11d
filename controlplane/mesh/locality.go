package mesh

import (
	"cmp"
	"strings"
)

// Labels that tell where a workload is. LabelLocality holds region.zone.subzone (or with '/'), as Istio has it; the others one part each.
const (
	LabelLocality = "istio-locality"
	LabelRegion   = "topology.kubernetes.io/region"
	LabelZone     = "topology.kubernetes.io/zone"
	LabelSubzone  = "topology.istio.io/subzone"
)

// LocalityOf reads "region/zone/subzone" from labels of a workload or a node; "" if they do not tell.
func LocalityOf(labels map[string]string) string {
	if l := labels[LabelLocality]; l != "" {
		if !strings.Contains(l, "/") {
			l = strings.ReplaceAll(l, ".", "/")
		}
		return l
	}
	l := labels[LabelRegion] + "/" + labels[LabelZone] + "/" + labels[LabelSubzone]
	return strings.TrimRight(l, "/")
}

// Locality says which endpoints a client prefers: DestinationRule's localityLbSetting or zoneAwareLbSetting. Without Distribute
// and Priority the nearest come first. Everything but Distribute and Zones needs outlier detection: without it nothing is ever taken
// for failed.
type Locality struct {
	Off bool // enabled: false
	// Distribute divides requests by weight; of localities that are not named a client there uses none.
	Distribute []Distribution
	Failover   []Failover
	// Priority are labels, "key" or "key=value", the most important first: the more of them an endpoint has in common with the
	// client (or with the value), the sooner it is used.
	Priority []string
	// Zones: only regions are told apart, not their zones (zoneAwareLbSetting).
	Zones bool
}

// Distribution is for clients in From. Patterns are "region", "region/zone", "region/zone/subzone", any part of them "*".
type Distribution struct {
	From string
	To   []Share // the most specific pattern first
}

// Share of the requests, in percent, goes to what Pattern matches.
type Share struct {
	Pattern string
	Percent uint32
}

// Failover is the region that clients of region From turn to next.
type Failover struct{ From, To string }

// LocalityMatches compares a locality with a pattern. Parts that the pattern lacks match anything.
func LocalityMatches(pattern, locality string) bool {
	have := strings.Split(locality, "/")
	for i, want := range strings.Split(pattern, "/") {
		if want == "*" || want == "" {
			continue
		}
		if i >= len(have) || have[i] != want {
			return false
		}
	}
	return true
}

// Region is a locality's first part.
func Region(locality string) string {
	r, _, _ := strings.Cut(locality, "/")
	return r
}

// TopologyLabel is a label of something with these labels and this locality, which may say what the labels do not.
func TopologyLabel(key string, labels map[string]string, locality string) string {
	parts := append(strings.Split(locality, "/"), "", "")
	switch key {
	case LabelRegion:
		return cmp.Or(labels[key], parts[0])
	case LabelZone:
		return cmp.Or(labels[key], parts[1])
	case LabelSubzone:
		return cmp.Or(labels[key], parts[2])
	}
	return labels[key]
}

// Place is endpoints that are alike to one client: of one locality and one priority.
type Place struct {
	Locality  string
	Priority  uint32 // 0 is used first, the others when what comes before fails; none is left out
	Weight    uint32 // 0: the sum of the endpoints'
	Endpoints []*Endpoint
}
