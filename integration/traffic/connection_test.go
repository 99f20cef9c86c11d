package traffic

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// listen serves raw connections on loopback; the answer is what of a connection came before HTTP.
func listen(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answer(c)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func answer(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	before := "nothing"
	if begin, _ := r.Peek(6); string(begin) == "PROXY " {
		before, _ = r.ReadString('\n')
	} else if v2, _ := r.Peek(12); bytes.Equal(v2, []byte("\r\n\r\n\x00\r\nQUIT\n")) {
		head := make([]byte, 16)
		_, _ = io.ReadFull(r, head)
		_, _ = io.CopyN(io.Discard, r, int64(head[14])<<8|int64(head[15]))
		before = fmt.Sprintf("version 2, command %d", head[12]&15)
	}
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		body := strings.TrimSpace(before)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s", len(body), body)
	}
}

// A server behind a DestinationRule with proxyProtocol sees the header of that version, and one without sees none.
func TestProxyProtocol(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, client)
	port := listen(t)
	entry := fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: raw}
spec:
  hosts: [raw.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
---
`, port)
	rule := func(policy string) string {
		return entry + `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: raw}
spec: {host: raw.example, trafficPolicy: ` + policy + `}
`
	}
	m.Apply(t, rule("{retryBudget: {percent: 50, minRetryConcurrency: 2, budgetInterval: 1s}}"))
	const url = "http://raw.example/"
	begins := func(with string) func(meshtest.Answer) bool {
		return func(a meshtest.Answer) bool { return a.Code == 200 && strings.HasPrefix(a.Body, with) }
	}
	c.Await(t, "no header", begins("nothing"), url)
	m.Apply(t, rule("{proxyProtocol: {version: V1}}"))
	c.Await(t, "version 1", begins("PROXY TCP4 127."), url)
	m.Apply(t, rule("{proxyProtocol: {version: V2}}"))
	c.Await(t, "version 2", begins("version 2, command 1"), url)
}
