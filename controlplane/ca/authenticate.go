package ca

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// Authenticator tells who calls. ErrNoCredentials if the call carries none of its kind; any other error refuses the call.
type Authenticator interface {
	Authenticate(ctx context.Context) (Identity, error)
}

// ErrNoCredentials says that a call carries no credentials of an Authenticator's kind.
var ErrNoCredentials = errors.New("no credentials")

// AnyOf asks each in turn and takes the first that finds its kind of credentials.
type AnyOf []Authenticator

// Authenticate implements Authenticator.
func (a AnyOf) Authenticate(ctx context.Context) (Identity, error) {
	for _, one := range a {
		id, err := one.Authenticate(ctx)
		if !errors.Is(err, ErrNoCredentials) {
			return id, err
		}
	}
	return Identity{}, ErrNoCredentials
}

// ByCertificate takes the identity in the client certificate, which the TLS handshake has verified.
type ByCertificate struct{}

// Authenticate implements Authenticator.
func (ByCertificate) Authenticate(ctx context.Context) (Identity, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Identity{}, ErrNoCredentials
	}
	tls, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(tls.State.VerifiedChains) == 0 {
		return Identity{}, ErrNoCredentials
	}
	uris := tls.State.VerifiedChains[0][0].URIs
	if len(uris) != 1 {
		return Identity{}, fmt.Errorf("client certificate has %d URIs, want the one of its identity", len(uris))
	}
	return ParseIdentity(uris[0].String())
}

// bearer is the token of a call.
func bearer(ctx context.Context) (string, bool) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, v := range md.Get("authorization") {
		if len(v) > 7 && strings.EqualFold(v[:7], "Bearer ") {
			return strings.TrimSpace(v[7:]), true
		}
	}
	return "", false
}
