package module

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// registry is one repository of a registry (OCI distribution specification).
type registry struct {
	*fetcher
	host, repository string
	base             string // URL of the repository
	login            *login // nil: anonymous
	authorization    string // header that was good last; "" none was needed
}

// get asks for a path; where the registry wants to know who asks, once more.
func (r *registry) get(ctx context.Context, path string, header http.Header) ([]byte, error) {
	raw, err := r.fetcher.get(ctx, r.base+path, r.authorized(header))
	var refused *statusError
	if !errors.As(err, &refused) || refused.resp.StatusCode != http.StatusUnauthorized || r.authorization != "" {
		return raw, err
	}
	if err := r.authorize(ctx, refused.resp.Header.Values("WWW-Authenticate")); err != nil {
		return nil, err
	}
	return r.fetcher.get(ctx, r.base+path, r.authorized(header))
}

func (r *registry) authorized(header http.Header) http.Header {
	out := header.Clone()
	if out == nil {
		out = http.Header{}
	}
	if r.authorization != "" {
		out.Set("Authorization", r.authorization)
	}
	return out
}

// authorize does what a registry's challenge asks for.
func (r *registry) authorize(ctx context.Context, challenges []string) error {
	for _, c := range challenges {
		scheme, rest, _ := strings.Cut(c, " ")
		switch strings.ToLower(scheme) {
		case "bearer":
			return r.token(ctx, parameters(rest))
		case "basic":
			if r.login == nil {
				return fmt.Errorf("fetch module: %s wants a name and password: write imagePullSecret", r.host)
			}
			r.authorization = r.login.basic()
			return nil
		}
	}
	return fmt.Errorf("fetch module: %s refuses, and does not say what it wants", r.host)
}

// token gets a token from where the registry sends its callers. A login goes nowhere in plaintext, unless the registry itself is
// asked so.
func (r *registry) token(ctx context.Context, p map[string]string) error {
	realm, err := url.Parse(p["realm"])
	if err != nil || realm.Host == "" {
		return fmt.Errorf("fetch module: %s names no place to get a token", r.host)
	}
	if realm.Scheme != "https" && realm.Scheme != r.scheme(r.host) {
		return fmt.Errorf("fetch module: %s would have its token fetched in plaintext", r.host)
	}
	q := realm.Query()
	if s := p["service"]; s != "" {
		q.Set("service", s)
	}
	scope := p["scope"]
	if scope == "" {
		scope = "repository:" + r.repository + ":pull"
	}
	q.Set("scope", scope)
	realm.RawQuery = q.Encode()
	header := http.Header{}
	if r.login != nil {
		header.Set("Authorization", r.login.basic())
	}
	raw, err := r.fetcher.get(ctx, realm.String(), header)
	if err != nil {
		return fmt.Errorf("get a token: %w", err)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return errors.New("get a token: the answer is no JSON")
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	r.authorization = "Bearer " + answer.Token
	return nil
}

var parameter = regexp.MustCompile(`([a-zA-Z_]+)="([^"]*)"`)

func parameters(challenge string) map[string]string {
	out := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(challenge, -1) {
		out[strings.ToLower(m[1])] = m[2]
	}
	return out
}

// login is a name and password.
type login struct{ user, password string }

func (l *login) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.user+":"+l.password))
}

// loginFor finds a registry's login in a Docker configuration: of the longest entry that the repository begins with; nil if there
// is none.
func loginFor(config []byte, host, repository string) (*login, error) {
	var c struct {
		Auths map[string]struct{ Auth, Username, Password string }
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, errors.New("read imagePullSecret: not a Docker configuration") // no error that quotes it
	}
	best := ""
	var out *login
	for key, a := range c.Auths {
		place := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://"), "/")
		for _, version := range []string{"/v1", "/v2"} {
			place = strings.TrimSuffix(place, version)
		}
		if name := host + "/" + repository; place != name && !strings.HasPrefix(name, place+"/") || out != nil && len(place) <= len(best) {
			continue
		}
		l := &login{a.Username, a.Password}
		if a.Auth != "" {
			raw, err := base64.StdEncoding.DecodeString(a.Auth)
			if err != nil {
				return nil, fmt.Errorf("read imagePullSecret: auth of %s is not base64", key)
			}
			l.user, l.password, _ = strings.Cut(string(raw), ":")
		}
		best, out = place, l
	}
	return out, nil
}
