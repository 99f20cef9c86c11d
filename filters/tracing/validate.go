package tracing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// DefaultBaggageBytes is Baggage.MaxBytes when it is 0.
const DefaultBaggageBytes = 8192

// formats lists every format in the default order of precedence.
func formats() []Format { return []Format{W3C, B3, B3Multi, Jaeger, OT} }

// ParseConfig reads a Config from JSON and validates it; an unknown field is an error.
func ParseConfig(raw []byte) (Config, error) {
	var c Config
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("parsing tracing configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("parsing tracing configuration: more than one JSON value")
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate says what is wrong with c, nil if nothing.
func (c *Config) Validate() error {
	if err := validateFormats("extract", c.Extract); err != nil {
		return err
	}
	if err := validateFormats("inject", c.Inject); err != nil {
		return err
	}
	if v := c.Sampling.PerSecond; v != 0 && !(v >= 1e-6 && v <= 1e9) {
		return fmt.Errorf("tracing: sampling.perSecond %v: want 0 (no cap), or 0.000001 to 1e9", v)
	}
	if h := c.Sampling.Header; h != "" && !headerName(h) {
		return fmt.Errorf("tracing: sampling.header %q: want a header's name", h)
	}
	if c.Baggage != nil && c.Baggage.MaxBytes < 0 {
		return fmt.Errorf("tracing: baggage.maxBytes %d: want at least 1 (or 0 for %d)", c.Baggage.MaxBytes, DefaultBaggageBytes)
	}
	if c.Translate {
		return c.validateTranslate()
	}
	if c.IgnoreRequestID {
		return errors.New("tracing: ignoreRequestId: only with translate; otherwise x-request-id is never read as a decision")
	}
	if c.Export != nil {
		return c.Export.validate()
	}
	return nil
}

func validateFormats(field string, given []Format) error {
	for i, f := range given {
		if !slices.Contains(formats(), f) {
			return fmt.Errorf("tracing: %s: format %q: want w3c, b3, b3multi, jaeger or ot", field, f)
		}
		if slices.Contains(given[:i], f) {
			return fmt.Errorf("tracing: %s: format %q: named twice", field, f)
		}
	}
	return nil
}

// headerName accepts what RFC 9110 calls a token.
func headerName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) < 0 {
			return false
		}
	}
	return true
}

// Bounds and defaults of Export.
const (
	minInterval     = 100 * time.Millisecond
	maxInterval     = time.Minute
	defaultInterval = time.Second
	defaultBatch    = 512
	largestBatch    = 4096
	defaultTimeout  = 5 * time.Second
	maxTimeout      = time.Minute
)

func (e *Export) validate() error {
	switch {
	case e.Protocol != OTLP && e.Protocol != Zipkin:
		return fmt.Errorf("tracing: export.protocol %q: want otlp-http or zipkin", e.Protocol)
	case e.Cluster == "":
		return errors.New("tracing: export.cluster is missing")
	case e.Service == "":
		return errors.New("tracing: export.service is missing")
	case e.Kind != Server && e.Kind != Client:
		return fmt.Errorf("tracing: export.kind %q: want server or client", e.Kind)
	case e.Path != "" && !plainText(e.Path, '/'):
		return fmt.Errorf("tracing: export.path %q: want one that begins with / and has no blanks", e.Path)
	case e.Host != "" && !plainText(e.Host, 0):
		return fmt.Errorf("tracing: export.host %q: want a host, with :port if need be", e.Host)
	case e.MaxBatch < 0 || e.MaxBatch > largestBatch:
		return fmt.Errorf("tracing: export.maxBatch %d: want 1 to %d (or 0 for %d)", e.MaxBatch, largestBatch, defaultBatch)
	}
	if d := time.Duration(e.Interval); d != 0 && (d < minInterval || d > maxInterval) {
		return fmt.Errorf("tracing: export.interval %v: want %v to %v (or 0 for %v)", d, minInterval, maxInterval, defaultInterval)
	}
	if d := time.Duration(e.Timeout); d != 0 && (d < time.Millisecond || d > maxTimeout) {
		return fmt.Errorf("tracing: export.timeout %v: want 1ms to %v (or 0 for %v)", d, maxTimeout, defaultTimeout)
	}
	return nil
}

// plainText accepts printable ASCII without blanks that begins with first, if that is not 0.
func plainText(s string, first byte) bool {
	if first != 0 && s[0] != first {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
