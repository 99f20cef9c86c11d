package main

import (
	"bytes"
	"context"
	"crypto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
)

// The token proves its account to a control plane that has the authority's directory, also after the command has run again.
func TestCAToken(t *testing.T) {
	dir, to := filepath.Join(t.TempDir(), "ca"), t.TempDir()
	var roots string
	for range 2 {
		var out bytes.Buffer
		if status := execute(context.Background(), []string{"ca", "token", "--ca-dir", dir, "shop/cart=" + to}, nil, &out, &out); status != 0 {
			t.Fatalf("status %d: %s", status, &out)
		}
		root, err := os.ReadFile(filepath.Join(to, "istio", "root-cert.pem"))
		if err != nil || !bytes.Contains(root, []byte("BEGIN CERTIFICATE")) {
			t.Fatalf("roots: %v %q", err, root)
		}
		if roots != "" && roots != string(root) {
			t.Error("the second run has other roots")
		}
		roots = string(root)
	}
	token, err := os.ReadFile(filepath.Join(to, "tokens", "istio-token"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ca.ReadPublicKeys(filepath.Join(dir, ca.TokenKeysFile))
	if err != nil {
		t.Fatal(err)
	}
	who := ca.ByToken{TrustDomain: "cluster.local", Keys: func() []crypto.PublicKey { return keys }}
	id, err := who.Authenticate(metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+string(token))))
	if err != nil || id.String() != "spiffe://cluster.local/ns/shop/sa/cart" {
		t.Errorf("the token proves %s, %v", id, err)
	}
}

func TestCATokenUsage(t *testing.T) {
	for _, arg := range []string{"cart=x", "shop/cart", "shop/cart=", "Sh op/cart=x"} {
		var out bytes.Buffer
		status := execute(context.Background(), []string{"ca", "token", "--ca-dir", t.TempDir(), arg}, nil, &out, &out)
		if status != 2 || !strings.Contains(out.String(), "read arguments: ") {
			t.Errorf("%q: status %d, %s", arg, status, &out)
		}
	}
}
