package mesh

import "strconv"

// String returns a word for people.
func (k ListenerKind) String() string {
	return [...]string{
		"http proxy", "outbound HTTP", "outbound TCP", "virtual outbound", "virtual inbound", "inbound", "gateway",
	}[k]
}

// String returns Envoy's discovery type, or what stands for it.
func (k ClusterKind) String() string {
	return [...]string{"EDS", "STRICT_DNS", "LOGICAL_DNS", "ORIGINAL_DST", "STATIC", "DYNAMIC_DNS", "BLACK_HOLE"}[k]
}

// String formats as "Kind namespace/name file:line".
func (o Origin) String() string {
	s := o.Kind + " " + o.Namespace + "/" + o.Name
	if o.File != "" {
		s += " " + o.File
	}
	if o.Line != 0 {
		s += ":" + strconv.Itoa(o.Line)
	}
	return s
}
