package adstest

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc"
	securityv1 "istio.io/api/security/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/agent"
)

// startAgent serves certificates of an authority of its own at a Unix socket, whose path it returns.
func startAgent(t testing.TB) string {
	t.Helper()
	authority, err := ca.SelfMade(t.TempDir(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := agent.New(agent.Options{CA: signer{authority}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	g := grpc.NewServer()
	a.Register(ctx, g)
	socket := filepath.Join(t.TempDir(), "sds")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	go func() { _ = g.Serve(l) }()
	t.Cleanup(func() {
		cancel()
		g.Stop()
		<-done
	})
	return socket
}

// signer is an authority that knows who asks.
type signer struct{ authority *ca.Authority }

// CreateCertificate implements the client's side of the service.
func (s signer) CreateCertificate(_ context.Context, q *securityv1.IstioCertificateRequest, _ ...grpc.CallOption) (*securityv1.IstioCertificateResponse, error) {
	chain, err := s.authority.Sign([]byte(q.GetCsr()), ca.Identity{TrustDomain: "cluster.local", Namespace: "default", ServiceAccount: "default"}, 0)
	if err != nil {
		return nil, err
	}
	return &securityv1.IstioCertificateResponse{CertChain: []string{chain, s.authority.Roots()}}, nil
}

// startNames answers every question for a name's address with 127.0.0.1, over UDP, and returns where.
func startNames(t testing.TB) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<12)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if out, ok := answer(buf[:n]); ok {
				_, _ = c.WriteTo(out, from) // who asks asks again
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return c.LocalAddr().String()
}

// answer is what a name server says to a question.
func answer(question []byte) ([]byte, bool) {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil, false
	}
	q := m.Questions[0]
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
	if q.Type == dnsmessage.TypeA {
		out.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 3600}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	raw, err := out.Pack()
	return raw, err == nil
}
