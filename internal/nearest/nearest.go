// Package nearest finds the word that a misspelt one was meant to be.
package nearest

import "strings"

// Of returns the candidate most like word, or "" if none is near enough to be meant. Case and separators do not count.
func Of(word string, candidates []string) string {
	best, bestDistance := "", 1000
	w := squash(word)
	for _, c := range candidates {
		s := squash(c)
		d := distance(w, s)
		if strings.HasPrefix(s, w) || strings.HasPrefix(w, s) {
			if len(w) >= 3 && len(s) >= 3 {
				d = min(d, 2)
			}
		}
		if d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if bestDistance > max(1, min(len(w), 12)/3) {
		return ""
	}
	return best
}

// Distance is the number of insertions, deletions, changes and swaps of neighbours between two words, whose case and separators do not
// count.
func Distance(a, b string) int { return distance(squash(a), squash(b)) }

// Same tells whether two words differ in case and separators only.
func Same(a, b string) bool { return squash(a) == squash(b) }

func squash(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
}

func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 1000
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
