package filter

import (
	"strings"
	"testing"
)

// Every string holds until Reset, however many follow.
func TestText(t *testing.T) {
	alone := &Exchange{}
	if got := alone.Text([]byte("a")) + alone.Decimal(-7); got != "a-7" {
		t.Errorf("without a run: %q", got)
	}
	var r Run
	for round := range 2 {
		r.Exchange.run = &r
		var got []string
		for i := range 1000 {
			got = append(got, r.Exchange.Text([]byte(strings.Repeat("x", i%50))), r.Exchange.Decimal(int64(i)))
		}
		for i := range 1000 {
			if want := strings.Repeat("x", i%50); got[2*i] != want || got[2*i+1] != (&Exchange{}).Decimal(int64(i)) {
				t.Fatalf("round %d: %q and %q at %d", round, got[2*i], got[2*i+1], i)
			}
		}
		r.Reset()
	}
	if cap(r.text) > maxText {
		t.Errorf("%d bytes are kept", cap(r.text))
	}
	long := strings.Repeat("y", maxText+1)
	r.Exchange.run = &r
	if got := r.Exchange.Text([]byte(long)); got != long {
		t.Error("a long text was cut")
	}
}
