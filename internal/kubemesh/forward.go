package kubemesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// askLimit bounds one question to a pod, a large configuration included.
const askLimit = time.Minute

// Get asks a pod for a page: http://127.0.0.1:PORT/PATH as the pod itself would see it, over a stream that the API server and the
// kubelet carry. No port is opened on this machine.
func (m *Mesh) Get(ctx context.Context, pod *corev1.Pod, port int, path string) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, askLimit)
	defer stop()
	t, err := m.open(pod)
	if err != nil {
		return nil, fmt.Errorf("forward to pod %s.%s: %w", pod.Name, pod.Namespace, err)
	}
	defer t.Close() //nolint:errcheck // it has served
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return dial(t, port) },
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		return nil, fmt.Errorf("ask pod %s.%s: %w", pod.Name, pod.Namespace, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask pod %s.%s at port %d: %w", pod.Name, pod.Namespace, port, bare(err))
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask pod %s.%s at port %d: %w", pod.Name, pod.Namespace, port, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask pod %s.%s at port %d: %s: %s: %s", pod.Name, pod.Namespace, port, path, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// open begins a connection of streams with a pod: in a WebSocket, or by SPDY itself where the API server or what is before it knows no other.
func (m *Mesh) open(pod *corev1.Pod) (httpstream.Connection, error) {
	at := m.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	socket, err := portforward.NewSPDYOverWebsocketDialer(at, m.Config)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(m.Config)
	if err != nil {
		return nil, err
	}
	plain := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, at)
	t, protocol, err := portforward.NewFallbackDialer(socket, plain, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}).Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		return nil, errors.Join(fmt.Errorf("the API server speaks %q, not %s", protocol, portforward.PortForwardProtocolV1Name), t.Close())
	}
	return t, nil
}

// dial opens a pod's port: a stream for bytes, and one on which the kubelet says what went wrong.
func dial(t httpstream.Connection, port int) (net.Conn, error) {
	h := http.Header{}
	h.Set(corev1.PortHeader, strconv.Itoa(port))
	h.Set(corev1.PortForwardRequestIDHeader, "0")
	h.Set(corev1.StreamType, corev1.StreamTypeError)
	trouble, err := t.CreateStream(h)
	if err != nil {
		return nil, err
	}
	if err := trouble.Close(); err != nil { // for writing
		return nil, err
	}
	h.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := t.CreateStream(h)
	if err != nil {
		return nil, err
	}
	c := &conn{Stream: data, told: make(chan struct{})}
	go func() {
		defer close(c.told)
		text, err := io.ReadAll(trouble)
		if len(text) > 0 {
			c.trouble = errors.New(strings.TrimSpace(string(text)))
		} else if err != nil {
			c.trouble = err
		}
	}()
	return c, nil
}

// conn is a stream as a connection. It has no deadlines: closing it ends what waits.
type conn struct {
	httpstream.Stream
	once    sync.Once
	told    chan struct{} // closed when trouble is known
	trouble error
}

// Read tells what the kubelet said in the place of a bare end.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	if n > 0 || err == nil {
		return n, err
	}
	select {
	case <-c.told:
	case <-time.After(time.Second): // an end is an end, whatever the kubelet has to say
		return n, err
	}
	if c.trouble != nil {
		return n, c.trouble
	}
	return n, err
}

// Close ends the stream in both directions.
func (c *conn) Close() error {
	var err error
	c.once.Do(func() { err = c.Reset() })
	return err
}

// LocalAddr has no meaning for a stream.
func (c *conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr has no meaning for a stream.
func (c *conn) RemoteAddr() net.Addr { return addr{} }

// SetDeadline does nothing.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// addr is the address of a stream.
type addr struct{}

func (addr) Network() string { return "portforward" }
func (addr) String() string  { return "portforward" }
