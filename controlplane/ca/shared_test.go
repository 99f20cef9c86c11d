package ca

import (
	crand "crypto/rand"
	"crypto/x509"
	"maps"
	"math/big"
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
		next, changed, err := a.Renew(kept, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if changed {
			kept = next
		}
		for _, a := range all {
			if err := a.Adopt(kept, nil); err != nil {
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
	kept, _, err := first.Renew(nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	next, changed, err := first.Renew(Material{CertFile: kept[CertFile], KeyFile: kept[KeyFile]}, nil, false)
	if err != nil || !changed || string(next[CertFile]) != string(kept[CertFile]) || string(next[RootFile]) != string(kept[CertFile]) {
		t.Errorf("changed %v, %v: signs\n%s\nwant\n%s", changed, err, next[CertFile], kept[CertFile])
	}
	if _, changed, err := first.Renew(next, nil, false); changed || err != nil {
		t.Errorf("nothing is due, and something changes: %v", err)
	}
}

// TestGivenComesAndGoes: an authority of somebody else's comes, goes, and comes back, at any time, in a cluster with several replicas, of
// which some start anew while it is there: each workload trusts every other at all times, and in the end whoever is there signs.
func TestGivenComesAndGoes(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := Options{TTL: time.Hour, MaxTTL: 2 * time.Hour, RootTTL: 2000 * time.Hour, Now: func() time.Time { return now }}
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 7))
		m := newSharers(t, o, r)
		file := m.intermediate()
		if seed == 0 {
			m.secret = file // it was there before the first of them
		}
		signed := map[bool]int{}
		for step := range 300 {
			if r.IntN(25) == 0 {
				if m.secret == nil {
					m.secret = file
				} else {
					m.secret = nil
				}
			}
			if m.secret != nil && r.IntN(30) == 0 {
				m.replicas[r.IntN(len(m.replicas))] = m.start()
			}
			m.step(now, step)
			signed[m.byGiven(r.IntN(len(m.replicas)))]++
			now = now.Add(7 * time.Minute)
		}
		if signed[true] < 30 || signed[false] < 30 {
			t.Errorf("seed %d: the given one signed at %d times, the others at %d", seed, signed[true], signed[false])
		}
		for _, there := range []bool{true, false, true} {
			m.secret = nil
			if there {
				m.secret = file
			}
			for range 40 { // twice the longest certificate's life
				m.step(now, -1)
				now = now.Add(7 * time.Minute)
			}
			for i, a := range m.replicas {
				if got := m.byGiven(i); got != there || strings.Count(a.Roots(), "BEGIN") != 1 {
					t.Errorf("seed %d: the given one is there: %v, signs: %v, and is trusted among %d", seed, there, got, strings.Count(a.Roots(), "BEGIN"))
				}
			}
			if n := len(keysOf(m.kept)); there && n != 2 { // its own entry, and root-cert.pem
				t.Errorf("kept beside the given one: %v", keysOf(m.kept))
			}
		}
	}
}

// sharers are replicas with two Secrets, and the workloads that they sign for.
type sharers struct {
	t         *testing.T
	o         Options
	r         *rand.Rand
	secret    Material // the given authority; nil: it is not there
	kept      Material
	replicas  []*Authority
	given     map[*Authority]*Given
	workloads map[int]signed
}

type signed struct {
	leaf, between *x509.Certificate
	roots         *x509.CertPool
	until         time.Time
}

func newSharers(t *testing.T, o Options, r *rand.Rand) *sharers {
	m := &sharers{t: t, o: o, r: r, given: map[*Authority]*Given{}, workloads: map[int]signed{}}
	for range 2 {
		m.replicas = append(m.replicas, m.start())
	}
	return m
}

func (m *sharers) start() *Authority {
	a, err := Shared(m.o)
	if err != nil {
		m.t.Fatal(err)
	}
	return a
}

// intermediate is an authority that a root of its own has signed.
func (m *sharers) intermediate() Material {
	far := m.o
	far.RootTTL = 50000 * time.Hour
	a := &Authority{opt: far.withDefaults()}
	top, err := a.newRoot(m.o.Now())
	if err != nil {
		m.t.Fatal(err)
	}
	key := newKey(m.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: m.o.Now(), NotAfter: top.cert.NotAfter, KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(crand.Reader, template, top.cert, key.Public(), top.key)
	if err != nil {
		m.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	text, err := keyPEM(root{pair: pair{cert, key}})
	if err != nil {
		m.t.Fatal(err)
	}
	return Material{CertFile: []byte(certificatePEM(der)), KeyFile: text, RootFile: []byte(certificatePEM(top.cert.Raw))}
}

// step lets all replicas look at the Secrets, signs for workloads whose time has come, and has each workload look at every other.
func (m *sharers) step(now time.Time, step int) {
	m.t.Helper()
	for _, a := range m.replicas {
		if m.secret != nil {
			g, err := a.ReadGiven(m.secret)
			if err != nil {
				m.t.Fatal(err)
			}
			m.given[a] = g
		}
		next, changed, err := a.Renew(m.kept, m.given[a], m.secret != nil)
		if err != nil {
			m.t.Fatal(err)
		}
		if changed {
			m.kept = next
		}
	}
	for _, a := range m.replicas {
		if err := a.Adopt(m.kept, m.given[a]); err != nil {
			m.t.Fatal(err)
		}
		if _, changed, err := a.Renew(m.kept, m.given[a], m.secret != nil); changed || err != nil {
			m.t.Fatalf("step %d: replicas write one after the other, and each something else: %v", step, err)
		}
	}
	for i := range 4 {
		if w, ok := m.workloads[i]; ok && now.Before(w.until) {
			continue
		}
		by := m.replicas[m.r.IntN(len(m.replicas))]
		chain, err := by.Sign(request(m.t, newKey(m.t), x509.CertificateRequest{}), Identity{"td", "n", "s"}, m.o.MaxTTL)
		if err != nil {
			m.t.Fatal(err)
		}
		certs, err := parseCertificates([]byte(chain))
		if err != nil {
			m.t.Fatal(err)
		}
		m.workloads[i] = signed{certs[0], certs[len(certs)-1], by.Pool(), now.Add(time.Duration(m.r.Int64N(int64(m.o.MaxTTL))))}
	}
	for i, x := range m.workloads {
		for j, y := range m.workloads {
			between := x509.NewCertPool()
			between.AddCert(x.between)
			if _, err := x.leaf.Verify(x509.VerifyOptions{Roots: y.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				m.t.Fatalf("step %d, %s: workload %d does not trust %d: %v", step, now, j, i, err)
			}
		}
	}
}

// byGiven tells whether a replica signs with the given authority.
func (m *sharers) byGiven(replica int) bool { return m.replicas[replica].state.Load().chain != "" }
