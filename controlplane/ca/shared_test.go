package ca

import (
	"crypto/x509"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestSharedRotation: over the years, processes that share a Secret, of which any may write it first, sign in a way that each workload
// trusts every other, whoever signed for it and whenever within a certificate's life it asked.
func TestSharedRotation(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := Options{TTL: time.Hour, MaxTTL: 2 * time.Hour, RootTTL: 20 * time.Hour, Now: func() time.Time { return now }}
	r := rand.New(rand.NewPCG(5, 6))
	var kept Material
	var all []*Authority
	for range 3 {
		a, err := Shared(o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	type workload struct {
		leaf  *x509.Certificate
		roots *x509.CertPool
		until time.Time
	}
	workloads := map[int]workload{}
	seen := map[string]bool{}
	for step := range 600 {
		a := all[r.IntN(len(all))]
		next, changed, err := a.Renew(kept)
		if err != nil {
			t.Fatal(err)
		}
		if changed {
			kept = next
		}
		for _, a := range all {
			if err := a.Adopt(kept); err != nil {
				t.Fatal(err)
			}
		}
		if string(kept[RootFile]) != a.Roots() {
			t.Fatalf("%s: root-cert.pem is not what is trusted", now)
		}
		seen[string(kept[CertFile])] = true
		for i := range 4 {
			if w, ok := workloads[i]; ok && now.Before(w.until) {
				continue
			}
			by := all[r.IntN(len(all))]
			chain, err := by.Sign(request(t, newKey(t), x509.CertificateRequest{}), Identity{"td", "n", "s"}, o.MaxTTL)
			if err != nil {
				t.Fatal(err)
			}
			certs, err := parseCertificates([]byte(chain))
			if err != nil {
				t.Fatal(err)
			}
			workloads[i] = workload{certs[0], by.Pool(), now.Add(time.Duration(r.Int64N(int64(o.MaxTTL))))}
		}
		for i, x := range workloads {
			for j, y := range workloads {
				if _, err := x.leaf.Verify(x509.VerifyOptions{Roots: y.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
					t.Fatalf("step %d, %s: workload %d does not trust %d: %v", step, now, j, i, err)
				}
			}
		}
		now = now.Add(7 * time.Minute)
	}
	if len(seen) < 3 {
		t.Errorf("%d roots signed in 70 hours, want at least 3", len(seen))
	}
	if n := strings.Count(strings.Join(keysOf(kept), " "), rootPrefix+"2"); n > 3 {
		t.Errorf("%d roots are kept", n)
	}
}

func keysOf(m Material) (out []string) {
	for k := range maps.Keys(m) {
		out = append(out, k)
	}
	return out
}

// TestSharedTakesOver: a root that stands there as Istio keeps it goes on to sign.
func TestSharedTakesOver(t *testing.T) {
	first, err := Shared(Options{})
	if err != nil {
		t.Fatal(err)
	}
	kept, _, err := first.Renew(nil)
	if err != nil {
		t.Fatal(err)
	}
	next, changed, err := first.Renew(Material{CertFile: kept[CertFile], KeyFile: kept[KeyFile]})
	if err != nil || !changed || string(next[CertFile]) != string(kept[CertFile]) || string(next[RootFile]) != string(kept[CertFile]) {
		t.Errorf("changed %v, %v: signs\n%s\nwant\n%s", changed, err, next[CertFile], kept[CertFile])
	}
	if _, changed, err := first.Renew(next); changed || err != nil {
		t.Errorf("nothing is due, and something changes: %v", err)
	}
}
