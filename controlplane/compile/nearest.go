package compile

// nearest returns ", or write NAME" for the known name closest to word, "" if none is close.
func nearest(word string, names []string) string {
	best, least := "", len(word)/3+1
	for _, n := range names {
		if d := distance(word, n, least); d < least || d == least && best == "" {
			best, least = n, d
		}
	}
	if best == "" || best == word {
		return ""
	}
	return ", or write " + best
}

// distance is Levenshtein's; more than limit is returned as limit+1.
func distance(a, b string, limit int) int {
	if abs(len(a)-len(b)) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost++
			}
			prev = row[j+1]
			row[j+1] = min(cost, row[j]+1, prev+1)
		}
	}
	if row[len(b)] > limit {
		return limit + 1
	}
	return row[len(b)]
}

func abs(v int) int { return max(v, -v) }
