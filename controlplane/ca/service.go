package ca

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	securityv1 "istio.io/api/security/v1alpha1"
)

// Service is Istio's certificate API over an Authority.
type Service struct {
	securityv1.UnimplementedIstioCertificateServiceServer
	authority *Authority
	who       Authenticator
	log       *slog.Logger
}

// NewService makes the service. who and log are not nil.
func NewService(a *Authority, who Authenticator, log *slog.Logger) *Service {
	return &Service{authority: a, who: who, log: log}
}

// Register adds the service to a gRPC server.
func (s *Service) Register(g *grpc.Server) { securityv1.RegisterIstioCertificateServiceServer(g, s) }

// CreateCertificate signs for the authenticated caller. The answer holds the certificate, then the intermediates, then the trust
// bundle, in which there are several roots during a rotation.
func (s *Service) CreateCertificate(ctx context.Context, q *securityv1.IstioCertificateRequest) (*securityv1.IstioCertificateResponse, error) {
	id, err := s.who.Authenticate(ctx)
	if err != nil {
		if errors.Is(err, ErrNoCredentials) {
			err = errors.New("a client certificate or a service account token is needed")
		}
		s.log.Warn("certificate refused", "error", err)
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	ttl := time.Duration(min(max(q.GetValidityDuration(), 0), int64(s.authority.opt.MaxTTL/time.Second))) * time.Second
	chain, err := s.authority.Sign([]byte(q.GetCsr()), id, ttl)
	if err != nil {
		s.log.Warn("certificate refused", "identity", id.String(), "error", err)
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	certs := split(chain)
	s.log.Debug("certificate signed", "identity", id.String())
	return &securityv1.IstioCertificateResponse{CertChain: append(certs, s.authority.Roots())}, nil
}

// split cuts a chain into its certificates.
func split(chain string) []string {
	certs, err := parseCertificates([]byte(chain))
	if err != nil {
		return []string{chain}
	}
	out := make([]string, len(certs))
	for i, c := range certs {
		out[i] = certificatePEM(c.Raw)
	}
	return out
}
