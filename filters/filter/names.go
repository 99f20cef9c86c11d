package filter

// Names is a set of header names that may hold too many: a bit for each name, which some names share. It answers "is
// none of them there" without looking at the headers one by one, which is what policies ask most.
type Names uint64

// NamesOf is the set of one name, lower case. Unite sets with |.
func NamesOf(name string) Names {
	n := len(name)
	if n == 0 {
		return 1
	}
	// The factors keep the names that policies look for apart from those that browsers and Envoy send.
	return 1 << ((uint(n) + 39*uint(name[n-1]) + 21*uint(name[n/2])) & 63)
}

// May tells whether a header with a name of the set may be there; false: there is none.
func (h *Headers) May(set Names) bool {
	if h.load != nil {
		h.snapshot()
	}
	if !h.named {
		h.named, h.names = true, 0
		for i := range h.entries {
			h.names |= NamesOf(h.entries[i].Name)
		}
	}
	return h.names&set != 0
}

// append adds an entry.
func (h *Headers) append(name, value string) {
	if h.named {
		h.names |= NamesOf(name)
	}
	h.entries = append(h.entries, Header{name, value})
}
