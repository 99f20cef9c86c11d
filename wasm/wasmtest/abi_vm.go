package wasmtest

import (
	"strings"
	"time"
)

func (v *VM) abiLog(p []uint64) status {
	levels := [...]string{"trace", "debug", "info", "warn", "error", "critical"}
	text, good := v.read(p[1], p[2])
	if !good {
		return badMemory
	}
	if p[0] >= uint64(len(levels)) {
		return badArgument
	}
	v.logs = append(v.logs, Log{levels[p[0]], string(text)})
	if len(v.logs) > maxLogs {
		v.logs = append(v.logs[:0], v.logs[maxLogs/2:]...)
	}
	return ok
}

// maxLogs bounds the lines kept; the older half goes when there are more.
const maxLogs = 10_000

func (v *VM) abiLogLevel(p []uint64) status { return v.put(p[0], 0) }

func (v *VM) abiTime(p []uint64) status { return v.put64(p[0], uint64(v.now.UnixNano())) }

func (v *VM) abiStatus(p []uint64) status {
	if st := v.put(p[0], 0); st != ok {
		return st
	}
	return v.give(nil, p[1], p[2])
}

func (v *VM) abiTick(p []uint64) status {
	v.period, v.nextTick = time.Duration(uint32(p[0]))*time.Millisecond, time.Time{}
	if v.period > 0 {
		v.nextTick = v.now.Add(v.period)
	}
	return ok
}

func (v *VM) abiEffective(p []uint64) status {
	id := uint32(p[0])
	if id != pluginID && v.streams[id] == nil {
		return badArgument
	}
	v.effective = id
	return ok
}

// path reads a property's path, whose parts the ABI separates by NUL.
func (v *VM) path(at, size uint64) (string, bool) {
	b, good := v.read(at, size)
	return strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", "."), good
}

func (v *VM) abiGetProperty(p []uint64) status {
	path, good := v.path(p[0], p[1])
	if !good {
		return badMemory
	}
	value, found := v.options.Properties[path]
	if s := v.stream(); s != nil {
		if own, has := s.properties[path]; has {
			value, found = own, true
		}
	}
	if !found {
		return notFound
	}
	return v.give([]byte(value), p[2], p[3])
}

func (v *VM) abiSetProperty(p []uint64) status {
	path, good := v.path(p[0], p[1])
	value, good2 := v.read(p[2], p[3])
	s := v.stream()
	switch {
	case !good || !good2:
		return badMemory
	case s == nil:
		return notFound
	}
	s.properties[path] = string(value)
	return ok
}

func (v *VM) abiForeign(p []uint64) status {
	name, good := v.read(p[0], p[1])
	arg, good2 := v.read(p[2], p[3])
	if !good || !good2 {
		return badMemory
	}
	f := v.options.Foreign[string(name)]
	if f == nil && string(name) == "clear_route_cache" {
		f = func([]byte) ([]byte, error) { return nil, nil }
	}
	if f == nil {
		return notFound
	}
	out, err := f(arg)
	if err != nil {
		return internalError
	}
	return v.give(out, p[4], p[5])
}

func (v *VM) abiDefineMetric(p []uint64) status {
	name, good := v.read(p[1], p[2])
	if !good {
		return badMemory
	}
	if p[0] > 2 {
		return badArgument
	}
	for id, known := range v.names {
		if known == string(name) {
			return v.put(p[3], uint32(id))
		}
	}
	v.names = append(v.names, string(name))
	v.metrics[string(name)], v.histograms[string(name)] = 0, p[0] == 2
	return v.put(p[3], uint32(len(v.names)-1))
}

// metric is the name of the metric with that id.
func (v *VM) metric(id uint64) (string, bool) {
	if id >= uint64(len(v.names)) {
		return "", false
	}
	return v.names[id], true
}

func (v *VM) abiIncrement(p []uint64) status {
	name, found := v.metric(p[0])
	if !found {
		return notFound
	}
	v.metrics[name] += int64(p[1])
	return ok
}

// abiRecord sets a gauge or counter; a histogram's values are added up, which is all that Metric tells of it.
func (v *VM) abiRecord(p []uint64) status {
	name, found := v.metric(p[0])
	if !found {
		return notFound
	}
	if !v.histograms[name] {
		v.metrics[name] = 0
	}
	v.metrics[name] += int64(p[1])
	return ok
}

func (v *VM) abiGetMetric(p []uint64) status {
	name, found := v.metric(p[0])
	if !found {
		return notFound
	}
	return v.put64(p[1], uint64(v.metrics[name]))
}

func (v *VM) abiGetShared(p []uint64) status {
	key, good := v.read(p[0], p[1])
	if !good {
		return badMemory
	}
	value, found := v.options.Shared.get(string(key))
	if !found {
		return notFound
	}
	if st := v.give(value.data, p[2], p[3]); st != ok {
		return st
	}
	return v.put(p[4], value.cas)
}

func (v *VM) abiSetShared(p []uint64) status {
	key, good := v.read(p[0], p[1])
	value, good2 := v.read(p[2], p[3])
	if !good || !good2 {
		return badMemory
	}
	if !v.options.Shared.set(string(key), value, uint32(p[4])) {
		return casMismatch
	}
	return ok
}
