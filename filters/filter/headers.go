package filter

// Header is one header; Name is lower case.
type Header struct{ Name, Value string }

// EditOp is what an Edit does.
type EditOp uint8

const (
	// EditSet replaces every value of the name.
	EditSet EditOp = iota
	// EditAdd appends a value.
	EditAdd
	// EditRemove removes every value.
	EditRemove
)

// Edit is one change to a header map, to be replayed by the host in order.
type Edit struct {
	Op          EditOp
	Name, Value string
}

// Headers is a snapshot of a header map, taken in one crossing of the host boundary, and a log of the edits made to
// it since. Names are lower case. A few dozen entries: lookups are linear, which beats hashing at that size.
type Headers struct {
	entries []Header
	edits   []Edit
}

// NewHeaders takes ownership of entries.
func NewHeaders(entries []Header) *Headers { return &Headers{entries: entries} }

// Reset points h at a new snapshot and forgets the edits.
func (h *Headers) Reset(entries []Header) { h.entries, h.edits = entries, h.edits[:0] }

// Get returns the first value of name.
func (h *Headers) Get(name string) (value string, ok bool) {
	for i := range h.entries {
		if h.entries[i].Name == name {
			return h.entries[i].Value, true
		}
	}
	return "", false
}

// Value is Get without the flag: "" if absent.
func (h *Headers) Value(name string) string { v, _ := h.Get(name); return v }

// Joined returns all values of name joined with ",", as Envoy's header matchers see a repeated header.
func (h *Headers) Joined(name string) (value string, ok bool) {
	for i := range h.entries {
		if h.entries[i].Name != name {
			continue
		}
		if !ok {
			value, ok = h.entries[i].Value, true
			continue
		}
		value += "," + h.entries[i].Value
	}
	return value, ok
}

// All returns the snapshot with the edits applied; the caller must not change it.
func (h *Headers) All() []Header { return h.entries }

// Set replaces every value of name.
func (h *Headers) Set(name, value string) {
	h.drop(name)
	h.entries = append(h.entries, Header{name, value})
	h.edits = append(h.edits, Edit{EditSet, name, value})
}

// Add appends a value.
func (h *Headers) Add(name, value string) {
	h.entries = append(h.entries, Header{name, value})
	h.edits = append(h.edits, Edit{EditAdd, name, value})
}

// Remove removes every value of name; removing an absent name is no edit.
func (h *Headers) Remove(name string) {
	if h.drop(name) {
		h.edits = append(h.edits, Edit{EditRemove, name, ""})
	}
}

// TakeEdits returns the edits since the last call, for the host to write, and forgets them.
func (h *Headers) TakeEdits() []Edit {
	e := h.edits
	h.edits = h.edits[len(h.edits):]
	return e
}

func (h *Headers) drop(name string) bool {
	out := h.entries[:0]
	for _, e := range h.entries {
		if e.Name != name {
			out = append(out, e)
		}
	}
	dropped := len(out) < len(h.entries)
	h.entries = out
	return dropped
}
