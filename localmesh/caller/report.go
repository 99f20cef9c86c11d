package caller

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// widest is how much of an answer the table shows.
const widest = 120

// Report counts answers.
type Report struct {
	Requests int       `json:"requests"`
	Answers  []Line    `json:"answers"`  // most frequent first
	Failures []Failure `json:"failures"` // by code and flag, most frequent first
	P50      Millis    `json:"p50"`      // of all
	P99      Millis    `json:"p99"`

	latencies []time.Duration
	byBody    map[string][]time.Duration
	failed    map[Failure]int
}

// Line is one answer and how often it came.
type Line struct {
	Answer string `json:"answer"` // its first line
	Count  int    `json:"count"`
	// Share of all requests, in percent.
	Share float64 `json:"share"`
	P50   Millis  `json:"p50"`
	P99   Millis  `json:"p99"`
}

// Failure is one way to fail and how often it happened.
type Failure struct {
	Code   int     `json:"code"` // 0: no answer
	Flag   string  `json:"flag"` // Envoy's response flag, "-" unknown
	Answer string  `json:"answer"`
	Count  int     `json:"count"`
	Share  float64 `json:"share"` // in percent
}

// Millis is a duration in milliseconds, in JSON too.
type Millis float64

// String formats as "3.2ms".
func (m Millis) String() string { return fmt.Sprintf("%.1fms", float64(m)) }

// Add counts one answer.
func (r *Report) Add(a Answer) {
	if r.byBody == nil {
		r.byBody, r.failed = map[string][]time.Duration{}, map[Failure]int{}
	}
	r.Requests++
	r.latencies = append(r.latencies, a.Latency)
	text := firstLine(a.Body)
	if a.Err != nil {
		text = a.Err.Error()
	}
	if a.Failed() {
		r.failed[Failure{Code: a.Status, Flag: a.Flag(), Answer: text}]++
		return
	}
	if a.Status != 200 {
		text = strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, text))
	}
	r.byBody[text] = append(r.byBody[text], a.Latency)
}

func firstLine(body string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(body), "\n")
	if len(line) > widest {
		line = line[:widest-3] + "..."
	}
	return line
}

// Finish fills in what is printed.
func (r *Report) Finish() {
	r.Answers, r.Failures = []Line{}, []Failure{}
	r.P50, r.P99 = quantile(r.latencies, 0.5), quantile(r.latencies, 0.99)
	for text, ls := range r.byBody {
		r.Answers = append(r.Answers, Line{Answer: text, Count: len(ls), Share: r.share(len(ls)), P50: quantile(ls, 0.5), P99: quantile(ls, 0.99)})
	}
	slices.SortFunc(r.Answers, func(a, b Line) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Answer, b.Answer)) })
	for f, n := range r.failed {
		f.Count, f.Share = n, r.share(n)
		r.Failures = append(r.Failures, f)
	}
	slices.SortFunc(r.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Flag, b.Flag), cmp.Compare(a.Answer, b.Answer))
	})
}

func (r *Report) share(n int) float64 { return float64(n) * 100 / float64(max(1, r.Requests)) }

// quantile is the smallest value that the share q of all does not exceed.
func quantile(ds []time.Duration, q float64) Millis {
	if len(ds) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(ds))
	i := min(len(sorted)-1, int(q*float64(len(sorted))))
	return Millis(float64(sorted[i]) / float64(time.Millisecond))
}

// Print writes the tables.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	if len(r.Answers) > 0 {
		fmt.Fprintln(t, "ANSWER\tCOUNT\tSHARE\tP50\tP99")
		for _, l := range r.Answers {
			fmt.Fprintf(t, "%s\t%d\t%.1f%%\t%s\t%s\n", cmp.Or(l.Answer, "(empty)"), l.Count, l.Share, l.P50, l.P99)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(r.Failures) > 0 {
		if len(r.Answers) > 0 {
			fmt.Fprintln(w)
		}
		t = tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
		fmt.Fprintln(t, "CODE\tFLAG\tCOUNT\tSHARE\tFAILURE")
		for _, f := range r.Failures {
			fmt.Fprintf(t, "%03d\t%s\t%d\t%.1f%%\t%s\n", f.Code, f.Flag, f.Count, f.Share, cmp.Or(f.Answer, "(empty)"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%d requests, %d failed, p50 %s, p99 %s\n", r.Requests, r.failures(), r.P50, r.P99)
	return err
}

func (r *Report) failures() int {
	n := 0
	for _, f := range r.Failures {
		n += f.Count
	}
	return n
}
