package ratelimit

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// The arithmetic of the algorithms, on whole microseconds. script.lua is the same for Redis; a table and a random
// walk in the tests hold the two together.

// slots is into how many parts a sliding window is cut. A hit is forgotten at most 1/slots of the window late.
const slots = 16

// grain forgives the rounding of sums of fractions: less than a millionth of a request.
const grain = 1e-6

// maxStepBack is how far a clock may run backwards without being taken for one that was set.
const maxStepBack = int64(time.Second / time.Microsecond)

// state is what a key has used. Zero: nothing.
type state struct {
	// GCRA in its leaky-bucket form: hits used at time last; they drain evenly. Counted in hits, not in time, so that
	// what was used stays used when a rule's numbers change.
	// A token bucket has the same two: last is then when it was filled last.
	used float64
	last int64
	// sliding window: ordered by start
	slots []slot
}

type slot struct{ start, hits int64 }

// take decides a at time now (microseconds) and counts what it grants.
func (s *state) take(a *Ask, now int64) Answer {
	per := float64(a.Rule.Per.Microseconds())
	switch {
	case a.Rule.Sliding:
		return s.takeWindow(a, now, int64(per))
	case a.Rule.Bucket:
		return s.takeBucket(a, now, int64(per))
	}
	return s.takeGCRA(a, now, float64(a.Rule.Requests)/per)
}

// takeGCRA drains rate hits per microsecond.
func (s *state) takeGCRA(a *Ask, now int64, rate float64) Answer {
	burst := float64(a.Rule.Burst)
	if now < s.last && s.last-now <= maxStepBack {
		now = s.last
	}
	used := min(burst, max(0, s.used-float64(max(0, now-s.last))*rate))
	if a.Back {
		used = max(0, used-float64(a.Each))
	}
	granted := fit(a, burst-used)
	used += float64(counted(a, granted))
	if a.Back || counted(a, granted) > 0 { // a refusal changes nothing
		s.used, s.last = used, now
	}
	out := Answer{Granted: granted, Remaining: whole(burst - used), Reset: micros(used / rate)}
	if granted < a.Times {
		out.Retry = micros((max(1, float64(a.Each)) - (burst - used)) / rate)
	}
	return out
}

// takeBucket fills once each per, counted from when the bucket was last full.
func (s *state) takeBucket(a *Ask, now, per int64) Answer {
	burst, requests := float64(a.Rule.Burst), float64(a.Rule.Requests)
	if now < s.last && s.last-now <= maxStepBack {
		now = s.last
	}
	used, last := min(burst, s.used), s.last
	if now < last {
		last = now // somebody set the clock back
	}
	periods := (now - last) / per
	used, last = max(0, used-float64(periods)*requests), last+periods*per
	if a.Back {
		used = max(0, used-float64(a.Each))
	}
	if used == 0 {
		last = now
	}
	granted := fit(a, burst-used)
	used += float64(counted(a, granted))
	if a.Back || counted(a, granted) > 0 { // a refusal changes nothing
		s.used, s.last = used, last
	}
	until := func(tokens float64) time.Duration { // they are back
		if tokens <= 0 {
			return 0
		}
		return micros(float64(last-now) + math.Ceil(tokens/requests)*float64(per))
	}
	out := Answer{Granted: granted, Remaining: whole(burst - used), Reset: until(used)}
	if granted < a.Times {
		out.Retry = until(max(1, float64(a.Each)) - (burst - used))
	}
	return out
}

func (s *state) takeWindow(a *Ask, now, per int64) Answer {
	step := (per + slots - 1) / slots
	s.slide(now, step)
	var used int64
	for _, v := range s.slots {
		used += v.hits
	}
	used = min(used, int64(a.Rule.Requests))
	if a.Back {
		used -= s.giveBack(int64(a.Each))
	}
	granted := fit(a, float64(int64(a.Rule.Requests)-used))
	if hits := counted(a, granted); hits > 0 {
		s.add(now/step*step, hits)
		used += hits
	}
	span := (slots + 1) * step // from a slot's start until its hits are forgotten
	out := Answer{Granted: granted, Remaining: uint32(int64(a.Rule.Requests) - used)}
	if len(s.slots) > 0 {
		out.Reset = micros(float64(s.slots[len(s.slots)-1].start + span - now))
	}
	if granted < a.Times {
		need := max(1, int64(a.Each)) - (int64(a.Rule.Requests) - used)
		out.Retry = max(out.Reset, time.Microsecond)
		for _, v := range s.slots {
			if need -= v.hits; need <= 0 {
				out.Retry = micros(float64(v.start + span - now))
				break
			}
		}
	}
	return out
}

// slide forgets the slots that have left the window. Slots of a clock that was set back count as used now.
func (s *state) slide(now, step int64) {
	cur := now / step * step
	var ahead int64
	s.slots = slices.DeleteFunc(s.slots, func(v slot) bool {
		if v.start > now+maxStepBack {
			ahead += v.hits
			return true
		}
		return v.start < cur-slots*step
	})
	if ahead > 0 {
		s.add(cur, ahead)
	}
}

func (s *state) add(start, hits int64) {
	i, found := slices.BinarySearchFunc(s.slots, start, func(v slot, at int64) int { return cmp.Compare(v.start, at) })
	if !found {
		s.slots = slices.Insert(s.slots, i, slot{start: start})
	}
	s.slots[i].hits += hits
}

// giveBack takes hits out of the newest slots and says how many there were.
func (s *state) giveBack(hits int64) (given int64) {
	for n := len(s.slots); hits > 0 && n > 0; n = len(s.slots) {
		v := min(hits, s.slots[n-1].hits)
		hits, given = hits-v, given+v
		if s.slots[n-1].hits -= v; s.slots[n-1].hits == 0 {
			s.slots = s.slots[:n-1]
		}
	}
	return given
}

// idle says that the state holds nothing that a new one would not.
func (s *state) idle(r Rule, now int64) bool {
	if r.Sliding {
		return len(s.slots) == 0 || s.slots[len(s.slots)-1].start+2*r.Per.Microseconds() < now
	}
	if r.Bucket {
		return s.used <= float64((now-s.last)/r.Per.Microseconds())*float64(r.Requests)
	}
	return s.used <= float64(now-s.last)*float64(r.Requests)/float64(r.Per.Microseconds())
}

// fit is how many requests of a fit into room.
func fit(a *Ask, room float64) uint32 {
	if a.Back {
		return a.Times
	}
	if a.Each == 0 {
		if room+grain >= 1 {
			return a.Times
		}
		return 0
	}
	return uint32(min(float64(a.Times), max(0, math.Floor((room+grain)/float64(a.Each)))))
}

// counted is how many hits a grant is.
func counted(a *Ask, granted uint32) int64 {
	if a.Back {
		return 0
	}
	return int64(granted) * int64(a.Each)
}

func whole(room float64) uint32 { return uint32(max(0, math.Floor(room+grain))) }

// micros rounds up to whole microseconds.
func micros(v float64) time.Duration { return time.Duration(math.Ceil(v-grain)) * time.Microsecond }
