package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Audience that a token must be made out for, as Istio's are.
const Audience = "istio-ca"

// ByToken takes the identity in a service account token: a JWT as Kubernetes makes them, whose subject is
// "system:serviceaccount:<namespace>:<name>" and whose signature one of Keys proves.
type ByToken struct {
	TrustDomain string
	// Keys gives the public keys (ECDSA, RSA or Ed25519) in force. Not nil.
	Keys func() []crypto.PublicKey
	// Issuer that tokens must name; "": any.
	Issuer string
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

const subjectPrefix = "system:serviceaccount:"

// Authenticate implements Authenticator.
func (b ByToken) Authenticate(ctx context.Context) (Identity, error) {
	raw, ok := bearer(ctx)
	if !ok {
		return Identity{}, ErrNoCredentials
	}
	options := []jwt.ParserOption{
		jwt.WithAudience(Audience), jwt.WithExpirationRequired(), jwt.WithValidMethods([]string{"ES256", "RS256", "EdDSA"}),
	}
	if b.Issuer != "" {
		options = append(options, jwt.WithIssuer(b.Issuer))
	}
	if b.Now != nil {
		options = append(options, jwt.WithTimeFunc(b.Now))
	}
	err := errors.New("no key to verify it with")
	for _, key := range b.Keys() {
		var token *jwt.Token
		if token, err = jwt.Parse(raw, func(*jwt.Token) (any, error) { return key, nil }, options...); err == nil {
			return b.identity(token)
		}
	}
	return Identity{}, fmt.Errorf("verify token: %w", err)
}

func (b ByToken) identity(t *jwt.Token) (Identity, error) {
	subject, err := t.Claims.GetSubject()
	if err != nil {
		return Identity{}, fmt.Errorf("read token: %w", err)
	}
	return ofSubject(b.TrustDomain, subject)
}

// ofSubject is the identity of a service account by its name among users.
func ofSubject(trustDomain, subject string) (Identity, error) {
	rest, ok := strings.CutPrefix(subject, subjectPrefix)
	namespace, name, two := strings.Cut(rest, ":")
	if !ok || !two {
		return Identity{}, fmt.Errorf("read token: subject %q, want %sNAMESPACE:NAME", subject, subjectPrefix)
	}
	id := Identity{trustDomain, namespace, name}
	return id, id.Validate()
}

// ByReview takes the identity in a service account token for whose truth somebody else answers: an API server.
type ByReview struct {
	TrustDomain string
	// Review returns the user whose token it is, of a token that is good for Audience. Not nil.
	Review func(ctx context.Context, token string) (user string, err error)
}

// Authenticate implements Authenticator.
func (b ByReview) Authenticate(ctx context.Context) (Identity, error) {
	raw, ok := bearer(ctx)
	if !ok {
		return Identity{}, ErrNoCredentials
	}
	user, err := b.Review(ctx, raw)
	if err != nil {
		return Identity{}, fmt.Errorf("verify token: %w", err)
	}
	return ofSubject(b.TrustDomain, user)
}

// Token makes a service account token, as Kubernetes would, where no Kubernetes is: the local mesh's.
func Token(key crypto.Signer, namespace, serviceAccount string, now time.Time, ttl time.Duration) (string, error) {
	method, err := methodOf(key)
	if err != nil {
		return "", err
	}
	t, err := jwt.NewWithClaims(method, jwt.RegisteredClaims{
		Subject: subjectPrefix + namespace + ":" + serviceAccount, Audience: jwt.ClaimStrings{Audience},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-backdate)), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
	}).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	return t, nil
}

func methodOf(key crypto.Signer) (jwt.SigningMethod, error) {
	switch key.(type) {
	case *ecdsa.PrivateKey:
		return jwt.SigningMethodES256, nil
	case *rsa.PrivateKey:
		return jwt.SigningMethodRS256, nil
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA, nil
	}
	return nil, fmt.Errorf("make token: key of type %T", key)
}
