package module

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// fetcher makes one try.
type fetcher struct {
	client   http.Client
	insecure []string
}

func (f *fetcher) fetch(ctx context.Context, m *mesh.Module) ([]byte, error) {
	if image, ok := strings.CutPrefix(m.URL, "oci://"); ok {
		return f.image(ctx, image, m)
	}
	raw, err := f.get(ctx, m.URL, nil)
	if err != nil {
		return nil, err
	}
	return checked(raw, m.SHA256)
}

// get reads the body of an answer of 200.
func (f *fetcher) get(ctx context.Context, url string, header http.Header) ([]byte, error) {
	resp, err := f.ask(ctx, url, header)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{url, resp}
	}
	return limited(resp.Body)
}

func (f *fetcher) ask(ctx context.Context, url string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch module: %w", err)
	}
	if header != nil {
		req.Header = header
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch module: %w", plain(err))
	}
	return resp, nil
}

// plain leaves out the URL, which a redirect may have given a secret.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// statusError is an answer other than 200.
type statusError struct {
	url  string
	resp *http.Response
}

func (e *statusError) Error() string {
	return fmt.Sprintf("fetch module: %s answers %s", hostOf(e.url), e.resp.Status)
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the server"
	}
	return u.Host
}

// scheme of a registry: plaintext where the user says so, and on this machine.
func (f *fetcher) scheme(host string) string {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	if slices.Contains(f.insecure, host) || name == "localhost" || ip != nil && ip.IsLoopback() {
		return "http"
	}
	return "https"
}
