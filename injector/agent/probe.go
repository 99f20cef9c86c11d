package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// prober asks the application for kubelet, whose requests would meet mTLS. The fields are Kubernetes' of a probe.
type prober struct {
	HTTPGet *struct {
		Path        string `json:"path"`
		Port        number `json:"port"`
		Host        string `json:"host"`
		Scheme      string `json:"scheme"`
		HTTPHeaders []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"httpHeaders"`
	} `json:"httpGet"`
	TCPSocket *struct {
		Port number `json:"port"`
	} `json:"tcpSocket"`
	GRPC *struct {
		Port    number  `json:"port"`
		Service *string `json:"service"`
	} `json:"grpc"`
	TimeoutSeconds int `json:"timeoutSeconds"` // 0: 1
}

// number is a port, which Kubernetes may write as a text.
type number uint16

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(raw []byte) error {
	x, err := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, 16)
	if err != nil {
		return fmt.Errorf("%s is not the number of a port", raw)
	}
	*n = number(x)
	return nil
}

// probers reads ISTIO_KUBE_APP_PROBERS: probes by the path under which kubelet asks for them.
func probers(text string) (map[string]prober, error) {
	if text == "" {
		return nil, nil
	}
	var out map[string]prober
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("read ISTIO_KUBE_APP_PROBERS: %w", err)
	}
	for path, p := range out {
		if !strings.HasPrefix(path, "/app-health/") && !strings.HasPrefix(path, "/app-lifecycle/") || strings.ContainsAny(path, " {}") {
			return nil, fmt.Errorf("read ISTIO_KUBE_APP_PROBERS: %q is not a path such as /app-health/CONTAINER/readyz", path)
		}
		if p.HTTPGet == nil && p.TCPSocket == nil && p.GRPC == nil {
			return nil, fmt.Errorf("read ISTIO_KUBE_APP_PROBERS: %s asks nothing", path)
		}
	}
	return out, nil
}

// passthrough is the address that questions to the application come from: the rules of interception let it through to the application.
func passthrough(ip netip.Addr) net.Addr {
	if ip.Is6() {
		return &net.TCPAddr{IP: net.ParseIP("::6")}
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 6)}
}

// handler asks the application at the pod's address.
func (p prober) handler(ip netip.Addr) http.Handler {
	dialer := &net.Dialer{LocalAddr: passthrough(ip)}
	timeout := time.Duration(cmp.Or(p.TimeoutSeconds, 1)) * time.Second
	host := ip.String()
	client := &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // as kubelet
		},
		// What is not a success is kubelet's to judge; where a redirect leads is not.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		code, err := http.StatusOK, error(nil)
		switch {
		case p.HTTPGet != nil:
			code, err = p.get(ctx, client, r, host)
		case p.TCPSocket != nil:
			err = p.connect(ctx, dialer, host)
		default:
			err = p.health(ctx, dialer, host)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(code)
	})
}

// get passes kubelet's request on and returns the application's status.
func (p prober) get(ctx context.Context, client *http.Client, from *http.Request, host string) (int, error) {
	scheme, path := strings.ToLower(cmp.Or(p.HTTPGet.Scheme, "http")), p.HTTPGet.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	url := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(p.HTTPGet.Port))) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header, req.Host = from.Header.Clone(), cmp.Or(p.HTTPGet.Host, from.Host)
	for _, h := range p.HTTPGet.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
		} else {
			req.Header.Set(h.Name, h.Value)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("probe the application: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 10<<10))
	return resp.StatusCode, nil
}

func (p prober) connect(ctx context.Context, dialer *net.Dialer, host string) error {
	c, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(p.TCPSocket.Port))))
	if err != nil {
		return fmt.Errorf("probe the application: %w", err)
	}
	return c.Close()
}

func (p prober) health(ctx context.Context, dialer *net.Dialer, host string) error {
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(host, strconv.Itoa(int(p.GRPC.Port))),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) }))
	if err != nil {
		return fmt.Errorf("probe the application: %w", err)
	}
	defer conn.Close()
	service := ""
	if p.GRPC.Service != nil {
		service = *p.GRPC.Service
	}
	answer, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("probe the application: %w", err)
	}
	if answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("probe the application: it is %s", answer.GetStatus())
	}
	return nil
}
