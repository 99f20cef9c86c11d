package xdsgen

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestListIsAMap: over random changes a List holds what a map would, in order, and Differences tells what changed and no more.
func TestListIsAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l List
	want := map[string]*Resource{}
	for step := range 2000 {
		old, before := l, maps.Clone(want)
		var set []*Resource
		var gone []string
		for range r.IntN(3) + r.IntN(2)*r.IntN(60) {
			x := &Resource{Name: fmt.Sprintf("n%04d", r.IntN(900)), Version: fmt.Sprint(r.IntN(4))}
			if i := slices.IndexFunc(set, func(y *Resource) bool { return y.Name == x.Name }); i < 0 {
				set = append(set, x)
			}
		}
		for range r.IntN(4) * r.IntN(20) {
			name := fmt.Sprintf("n%04d", r.IntN(900))
			if !slices.ContainsFunc(set, func(y *Resource) bool { return y.Name == name }) {
				gone = append(gone, name)
			}
		}
		for _, x := range set {
			want[x.Name] = x
		}
		for _, name := range gone {
			delete(want, name)
		}
		l = l.With(set, gone)
		var names []string
		for x := range l.All() {
			if want[x.Name] != x || l.Find(x.Name) != x {
				t.Fatalf("step %d: %s is not what was put", step, x.Name)
			}
			names = append(names, x.Name)
		}
		if l.Len() != len(want) || len(names) != len(want) || !slices.IsSorted(names) {
			t.Fatalf("step %d: %d names, Len %d, want %d in order", step, len(names), l.Len(), len(want))
		}
		told := map[string]int{}
		Differences(old, l, func(name string) { told[name]++ })
		for name := range maps.Keys(union(before, want)) {
			a, b := before[name], want[name]
			differs := (a == nil) != (b == nil) || a != nil && a.Version != b.Version
			if n := told[name]; differs != (n == 1) || n > 1 {
				t.Fatalf("step %d: %s differs %v, told %d times", step, name, differs, n)
			}
		}
		if old.Len() != len(before) {
			t.Fatalf("step %d: the list that it was made from has changed", step)
		}
	}
}

func union(a, b map[string]*Resource) map[string]*Resource {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// TestDifferencesSkipWhatIsShared: the walk looks only where the lists differ.
func TestDifferencesSkipWhatIsShared(t *testing.T) {
	var all []*Resource
	for i := range 10000 {
		all = append(all, &Resource{Name: fmt.Sprintf("n%05d", i), Version: "1"})
	}
	old := NewList(all)
	now := old.With([]*Resource{{Name: "n05000", Version: "2"}, {Name: "n05000a", Version: "1"}}, []string{"n09999"})
	var told []string
	Differences(old, now, func(n string) { told = append(told, n) })
	if want := []string{"n05000", "n05000a", "n09999"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	shared := 0
	for i := range old.chunks() {
		if slices.Contains(now.chunks(), old.chunks()[i]) {
			shared++
		}
	}
	if shared != len(old.chunks())-2 {
		t.Errorf("%d of %d chunks are shared, want all but two", shared, len(old.chunks()))
	}
}
