package tracing_test

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/spantest"
)

// mailbox is a fake collector for Zipkin's format, for what a real one would make slow to test.
type mailbox struct {
	*envoytest.Upstream
	mu    sync.Mutex
	spans []spantest.ZipkinSpan
	heads []http.Header
}

// newMailbox starts one. fail answers with an error status instead of taking spans, 0: takes them.
func newMailbox(t *testing.T, fail func() int) *mailbox {
	t.Helper()
	m := &mailbox{}
	m.Upstream = envoytest.NewUpstream(t, "collector", func(w http.ResponseWriter, r *http.Request) {
		var spans []spantest.ZipkinSpan
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(b, &spans)
		}
		status := http.StatusAccepted
		switch {
		case err != nil || r.URL.Path != "/api/v2/spans" || r.Method != http.MethodPost:
			status = http.StatusBadRequest
		case fail != nil && fail() != 0:
			status = fail()
		default:
			m.mu.Lock()
			m.spans = append(m.spans, spans...)
			m.heads = append(m.heads, r.Header)
			m.mu.Unlock()
		}
		w.WriteHeader(status)
	})
	return m
}

// got are the spans so far.
func (m *mailbox) got() []spantest.ZipkinSpan {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]spantest.ZipkinSpan(nil), m.spans...)
}
