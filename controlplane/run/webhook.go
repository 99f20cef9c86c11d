package run

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/dynamic"

	"github.com/mizzen-mesh/mizzen/controlplane/admission"
	"github.com/mizzen-mesh/mizzen/controlplane/status"
	"github.com/mizzen-mesh/mizzen/internal/serving"
	"github.com/mizzen-mesh/mizzen/internal/webhookcert"
)

// Webhook is the validating webhook of a control plane in a cluster.
type Webhook struct {
	// Addr is where it listens, with TLS.
	Addr string
	// Names are those of its certificate beside its Service's.
	Names []string
	// Open leaves failurePolicy alone; else Ignore becomes Fail when the API server reaches the webhook.
	Open bool
	// Serving, if not nil, is told the address that was bound.
	Serving func(net.Addr)
}

// webhook is a Webhook that listens.
type webhook struct {
	listener net.Listener
	keeper   *webhookcert.Keeper
}

// suffix is what the names of a revision's objects end in.
func (c *Cluster) suffix() string {
	if c.Revision == "" || c.Revision == "default" {
		return ""
	}
	return "-" + c.Revision
}

// listen opens the webhook; nil if there is none.
func (c *Cluster) listen(log *slog.Logger) (*webhook, error) {
	if c.Webhook == nil {
		return nil, nil
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(c.config())
	if err != nil {
		return nil, fmt.Errorf("make the client of the API server: %w", err)
	}
	o := webhookcert.Options{
		Client: client, Namespace: c.namespace(), Secret: "mizzen-webhook-ca" + c.suffix(),
		DNSNames:   append([]string{fmt.Sprintf("mizzen-controlplane%s.%s.svc", c.suffix(), c.namespace())}, c.Webhook.Names...),
		Validating: []string{"mizzen-validator" + c.suffix()}, Log: log,
	}
	if !c.Webhook.Open {
		o.FailClosed = admission.Probe(dyn, c.namespace(), c.Revision)
	}
	w := &webhook{keeper: webhookcert.New(o)}
	if w.listener, err = net.Listen("tcp", c.Webhook.Addr); err != nil {
		return nil, fmt.Errorf("listen for the validating webhook: %w", err)
	}
	if c.Webhook.Serving != nil {
		c.Webhook.Serving(w.listener.Addr())
	}
	return w, nil
}

// start serves the webhook, and keeps its certificate. A nil webhook does nothing.
func (w *webhook) start(ctx context.Context, g *errgroup.Group, p *publisher) {
	if w == nil {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("POST /validate", admission.Handler((&adviser{current: p.current}).about))
	g.Go(func() error { return w.keeper.Run(ctx) })
	g.Go(func() error { return serving.HTTP(ctx, mux, tls.NewListener(w.listener, w.keeper.TLS())) })
}

// ready is an error for as long as the API server cannot have an answer: a replica that is asked too early would refuse good objects.
func (w *webhook) ready() error {
	if w == nil {
		return nil
	}
	select {
	case <-w.keeper.Ready():
		return nil
	default:
		return errors.New("the validating webhook has no certificate yet")
	}
}

// withWebhook adds the webhook to what /ready says.
func withWebhook(pages http.Handler, w *webhook) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
		if err := w.ready(); err != nil && q.URL.Path == "/ready" {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
			return
		}
		pages.ServeHTTP(rw, q)
	})
}

// lead stands for election, once there is a world to speak of, and does what one replica does for all: what the control plane says of
// objects is written into them.
func (c *Cluster) lead(ctx context.Context, p *publisher, id *identity) error {
	select {
	case <-p.compiled:
	case <-ctx.Done():
		return nil
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	dyn, err := dynamic.NewForConfig(c.config())
	if err != nil {
		return fmt.Errorf("make the client of the API server: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("stand for election: %w", err)
	}
	o := status.Options{
		Client: client, Dynamic: dyn, Namespace: c.namespace(), Lease: "mizzen-controlplane-leader" + c.suffix(), Identity: host + "_" + rand.Text(),
		Notes: "mizzen-controlplane-notes" + c.suffix(), Note: func() string { return noteOf(p.complaints()) },
		Diagnostics: p.written, Now: time.Now, Log: p.log,
	}
	if id != nil {
		o.Roots = func() string { return id.authority.Roots() }
	}
	return status.Run(ctx, o)
}
