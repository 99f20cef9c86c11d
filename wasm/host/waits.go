package host

import (
	"container/heap"
	"time"
)

// wait is a stream to be resumed. Structs are reused, so the context's id tells whether it is still the same stream.
type wait struct {
	due    time.Time
	id     uint32
	stream *stream
}

// waits is a heap of waits, the earliest first.
type waits struct{ heap waitHeap }

func (w *waits) empty() bool { return len(w.heap) == 0 }

func (w *waits) push(x wait) { heap.Push(&w.heap, x) }

// due takes the earliest wait if it is over at now.
func (w *waits) due(now time.Time) (wait, bool) {
	if len(w.heap) == 0 || w.heap[0].due.After(now) {
		return wait{}, false
	}
	return heap.Pop(&w.heap).(wait), true
}

// drop forgets the waits of s.
func (w *waits) drop(s *stream) {
	for i := range w.heap {
		if w.heap[i].stream == s {
			heap.Remove(&w.heap, i)
			return
		}
	}
}

type waitHeap []wait

// Len implements heap.Interface.
func (h waitHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h waitHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

// Swap implements heap.Interface.
func (h waitHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *waitHeap) Push(x any) { *h = append(*h, x.(wait)) }

// Pop implements heap.Interface.
func (h *waitHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = wait{}
	*h = old[:len(old)-1]
	return x
}
