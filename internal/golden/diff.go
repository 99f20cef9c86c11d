package golden

import (
	"fmt"
	"strings"
)

// context is how many unchanged lines stand around a change.
const context = 3

// Diff returns a unified diff of two texts, "" if they are equal. It compares line by line by the longest common
// subsequence, which is quick enough for test files of some thousand lines.
func Diff(want, got string) string {
	if want == got {
		return ""
	}
	a, b := lines(want), lines(got)
	ops := align(a, b)
	var out strings.Builder
	for i := 0; i < len(ops); {
		if ops[i].mark == ' ' {
			i++
			continue
		}
		start, end := max(i-context, 0), i
		for quiet := 0; end < len(ops) && quiet <= 2*context; end++ {
			if ops[end].mark == ' ' {
				quiet++
			} else {
				quiet = 0
			}
		}
		for end > i && ops[end-1].mark == ' ' && trailing(ops[:end]) > context {
			end--
		}
		fmt.Fprintf(&out, "@@ line %d @@\n", ops[start].line)
		for _, op := range ops[start:end] {
			fmt.Fprintf(&out, "%c%s\n", op.mark, op.text)
		}
		i = end
	}
	return out.String()
}

type op struct {
	mark byte // ' ', '-' or '+'
	text string
	line int // of want, 1-based
}

func trailing(ops []op) (n int) {
	for i := len(ops) - 1; i >= 0 && ops[i].mark == ' '; i-- {
		n++
	}
	return n
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// align fills the table of longest common subsequences of the suffixes and walks it.
func align(a, b []string) []op {
	table := make([][]int32, len(a)+1)
	for i := range table {
		table[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	var out []op
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, op{' ', a[i], i + 1})
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || table[i+1][j] >= table[i][j+1]):
			out = append(out, op{'-', a[i], i + 1})
			i++
		default:
			out = append(out, op{'+', b[j], i + 1})
			j++
		}
	}
	return out
}
