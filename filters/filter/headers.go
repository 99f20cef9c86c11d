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

// Loader reads a header map from its host, all of it in one go. Names are lower case. The strings hold until the
// exchange has ended: what is to live longer must be cloned.
type Loader interface{ LoadHeaders() []Header }

// Headers is a snapshot of a header map, taken in one crossing of the host boundary, and a log of the edits made to
// it since. Names are lower case. A few dozen entries: lookups are linear, which beats hashing at that size.
//
// A host may defer the snapshot until something is read (ResetLazy): setting a header costs no reading.
type Headers struct {
	entries []Header
	edits   []Edit
	taken   int    // how many of edits the host has written
	load    Loader // non-nil until the snapshot is taken
	names   Names  // of entries, and perhaps of some that were removed
	named   bool   // names is made: when somebody first asks
}

// NewHeaders takes ownership of entries.
func NewHeaders(entries []Header) *Headers { return &Headers{entries: entries} }

// Reset points h at a new snapshot and forgets the edits.
func (h *Headers) Reset(entries []Header) {
	h.entries, h.edits, h.taken, h.load, h.named = entries, h.edits[:0], 0, nil, false
}

// ResetLazy forgets snapshot and edits; the next read takes a new snapshot from l.
func (h *Headers) ResetLazy(l Loader) {
	h.entries, h.edits, h.taken, h.load, h.named = nil, h.edits[:0], 0, l, false
}

// snapshot takes the deferred snapshot and applies the edits that the host has not written yet.
func (h *Headers) snapshot() {
	l := h.load
	h.load = nil
	h.entries = l.LoadHeaders()
	for _, e := range h.edits[h.taken:] {
		if e.Op != EditAdd {
			h.drop(e.Name)
		}
		if e.Op != EditRemove {
			h.append(e.Name, e.Value)
		}
	}
}

// Get returns the first value of name.
func (h *Headers) Get(name string) (value string, ok bool) {
	if !h.May(NamesOf(name)) {
		return "", false
	}
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
	if h.load != nil {
		h.snapshot()
	}
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
func (h *Headers) All() []Header {
	if h.load != nil {
		h.snapshot()
	}
	return h.entries
}

// Set replaces every value of name. Where name is known to be absent the edit is an EditAdd, which costs Envoy less.
func (h *Headers) Set(name, value string) {
	op := EditSet
	if h.load == nil {
		if !h.drop(name) {
			op = EditAdd
		}
		h.append(name, value)
	}
	h.edits = append(h.edits, Edit{op, name, value})
}

// Add appends a value.
func (h *Headers) Add(name, value string) {
	if h.load == nil {
		h.append(name, value)
	}
	h.edits = append(h.edits, Edit{EditAdd, name, value})
}

// Remove removes every value of name; removing a name known to be absent is no edit.
func (h *Headers) Remove(name string) {
	if h.load != nil || h.drop(name) {
		h.edits = append(h.edits, Edit{EditRemove, name, ""})
	}
}

// TakeEdits returns the edits since the last call, for the host to write, and forgets them. The slice is valid until
// Reset.
func (h *Headers) TakeEdits() []Edit {
	e := h.edits[h.taken:]
	h.taken = len(h.edits)
	return e
}

// drop removes name from the entries, moving nothing when it is absent.
func (h *Headers) drop(name string) bool {
	if !h.May(NamesOf(name)) {
		return false
	}
	i := 0
	for i < len(h.entries) && h.entries[i].Name != name {
		i++
	}
	if i == len(h.entries) {
		return false
	}
	out := h.entries[:i]
	for _, e := range h.entries[i+1:] {
		if e.Name != name {
			out = append(out, e)
		}
	}
	h.entries = out
	return true
}
