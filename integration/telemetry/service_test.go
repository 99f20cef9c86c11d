package telemetry

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// receiver is an access log service, and an OpenTelemetry collector that looks at nothing but bytes.
type receiver struct {
	alsv3.UnimplementedAccessLogServiceServer
	port int

	mu       sync.Mutex
	requests map[string]*datav3.HTTPAccessLogEntry // by log name and path
	bytes    map[string]*datav3.TCPAccessLogEntry  // by log name and upstream cluster
	records  bytes.Buffer                          // what came by OpenTelemetry
}

func startReceiver(t *testing.T) *receiver {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{port: l.Addr().(*net.TCPAddr).Port, requests: map[string]*datav3.HTTPAccessLogEntry{}, bytes: map[string]*datav3.TCPAccessLogEntry{}}
	s := grpc.NewServer(grpc.UnknownServiceHandler(r.export))
	alsv3.RegisterAccessLogServiceServer(s, r)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return r
}

// StreamAccessLogs takes entries.
func (r *receiver) StreamAccessLogs(s alsv3.AccessLogService_StreamAccessLogsServer) error {
	name := "" // only a stream's first message has it
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if id := m.GetIdentifier(); id != nil {
			name = id.GetLogName()
		}
		r.mu.Lock()
		for _, e := range m.GetHttpLogs().GetLogEntry() {
			r.requests[name+" "+e.GetRequest().GetPath()] = e
		}
		for _, e := range m.GetTcpLogs().GetLogEntry() {
			r.bytes[name+" "+e.GetCommonProperties().GetUpstreamCluster()] = e
		}
		r.mu.Unlock()
	}
}

// export keeps what is sent to any other service.
func (r *receiver) export(_ any, s grpc.ServerStream) error {
	m := &emptypb.Empty{}
	if err := s.RecvMsg(m); err != nil {
		return err
	}
	r.mu.Lock()
	method, _ := grpc.MethodFromServerStream(s)
	fmt.Fprintf(&r.records, "%s %s\n", method, m.ProtoReflect().GetUnknown())
	r.mu.Unlock()
	return s.SendMsg(&emptypb.Empty{})
}

func (r *receiver) has(ok func() bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ok()
}

// TestAccessLogServices: requests and connections are told to Envoy's access log service and to an OpenTelemetry collector.
func TestAccessLogServices(t *testing.T) {
	m := shared.Mesh(t)
	r := startReceiver(t)
	m.Apply(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: receiver}
spec:
  hosts: [receiver.example]
  ports: [{number: 9000, name: grpc, protocol: GRPC}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {grpc: %d}}]
`, r.port))
	m.Apply(t, meshConfig(`
    extensionProviders:
    - name: als
      envoyHttpAls: {service: receiver.example, port: 9000, logName: requests, additionalRequestHeadersToLog: [x-mine]}
    - name: tcp
      envoyTcpAls: {service: receiver.example, port: 9000}
    - name: otel
      envoyOtelAls: {service: receiver.example, port: 9000, logFormat: {text: "saw %REQ(:PATH)%", labels: {status: "code-%RESPONSE_CODE%"}}}
`))
	m.Apply(t, telemetry("front", "default",
		`{selector: {matchLabels: {app: front}}, accessLogging: [{match: {mode: CLIENT}, providers: [{name: als}, {name: tcp}, {name: otel}]}]}`))
	c := m.From(t, "front-0")
	await := func(what string, ok func() bool) {
		t.Helper()
		meshtest.Eventually(t, what, func() bool {
			return c.Must(t, api+"told", "x-mine: this").Code == 200 && r.has(ok)
		})
	}
	await("a request's entry", func() bool {
		e := r.requests["requests /told"]
		return e.GetRequest().GetRequestHeaders()["x-mine"] == "this" && e.GetResponse().GetResponseCode().GetValue() == 200 &&
			e.GetCommonProperties().GetUpstreamCluster() == "outbound|8000||api.default.svc.cluster.local"
	})
	await("an OpenTelemetry record", func() bool {
		s := r.records.String()
		return strings.Contains(s, "LogsService/Export") && strings.Contains(s, "saw /told") && strings.Contains(s, "code-200")
	})
	meshtest.Eventually(t, "a connection's entry", func() bool {
		raw(t, m, "front-0", 7000)
		return r.has(func() bool {
			e := r.bytes["tcp_envoy_accesslog outbound|7000||api.default.svc.cluster.local"]
			return e.GetConnectionProperties().GetReceivedBytes() > 0
		})
	})
	if r.has(func() bool { return len(r.bytes) > 1 }) {
		t.Errorf("requests were told as connections: %v", r.bytes)
	}
}

// raw sends a request over a workload's listener for a TCP port, and waits for the end of the connection.
func raw(t *testing.T, m *meshtest.Mesh, workload string, port int) {
	t.Helper()
	for _, w := range m.Ready.Workloads {
		if w.Name != workload {
			continue
		}
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", w.Address, port), time.Second)
		if err != nil {
			return // the listener is not there yet
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		req, _ := http.NewRequest(http.MethodGet, "http://api/raw", nil)
		req.Close = true
		if req.Write(conn) == nil {
			io.Copy(io.Discard, conn)
		}
	}
}
