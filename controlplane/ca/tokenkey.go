package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names of the files of TokenKey.
const (
	TokenKeyFile  = "token-key.pem"  // signs tokens
	TokenKeysFile = "token-keys.pem" // verifies them: what the control plane is told
)

// TokenKey opens the key in a directory that signs service account tokens where no Kubernetes does, and makes it if there is none.
// Beside it, in TokenKeysFile, lies its public half.
func TokenKey(dir string) (crypto.Signer, error) {
	raw, err := os.ReadFile(filepath.Join(dir, TokenKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return makeTokenKey(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read token key: %w", err)
	}
	key, err := parseKey(raw)
	if err != nil {
		return nil, fmt.Errorf("read token key in %s: %w", dir, err)
	}
	return key, writePublicKey(dir, key)
}

func makeTokenKey(dir string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make token key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make token key: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep token key: %w", err)
	}
	if err := writeFile(dir, TokenKeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, err
	}
	return key, writePublicKey(dir, key)
}

func writePublicKey(dir string, key crypto.Signer) error {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("keep token key: %w", err)
	}
	return writeFile(dir, TokenKeysFile, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}
