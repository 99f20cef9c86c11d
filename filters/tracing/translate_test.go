package tracing

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// tracerHost is a host whose Envoy has a tracer of its own.
type tracerHost struct {
	*filtertest.Host
	trace, id string
}

func (h *tracerHost) Attribute(a filter.Attribute) string {
	return map[filter.Attribute]string{filter.SpanTraceID: h.trace, filter.SpanID: h.id}[a]
}

func translate(t *testing.T, c Config, trace, id string, headers ...string) *filter.Exchange {
	t.Helper()
	c.Translate = true
	env := filtertest.Env()
	env.Spans = true
	p, err := New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	x := filtertest.NewExchange(headers...)
	host := x.Host.(*filtertest.Host)
	x.Host = &tracerHost{host, trace, id}
	p.Request(x)
	x.Host = host
	return x
}

func TestTranslate(t *testing.T) {
	const own, low, other = "00f067aa0ba902b7", "8448eb211c80319c", "0af7651916cd43dd8448eb211c80319c"
	sampled := "x-request-id: 1fd83884-c81b-9db8-8c86-99b2d49ac149"
	for name, c := range map[string]struct {
		config    Config
		trace, id string
		in        []string
		want      map[string]string
		source    string
	}{
		"its span": {Config{Inject: []Format{B3, Jaeger}}, other, own, []string{sampled},
			map[string]string{b3Single: other + "-" + own + "-1", uberTraceID: other + ":" + own + ":0:1"}, fromEnvoy},
		"64 bits, of Zipkin": {Config{Inject: []Format{W3C}}, low, "", []string{sampled},
			map[string]string{traceparent: "00-0000000000000000" + low + "-" + low + "-01"}, fromEnvoy},
		"Zipkin took over": {Config{Inject: []Format{Jaeger}}, other, "", []string{"b3: " + other + "-" + own + "-d"},
			map[string]string{b3Single: other + "-" + own + "-1", uberTraceID: other + ":" + own + ":0:1"}, fromEnvoy},
		"not sampled": {Config{Inject: []Format{B3}}, other, own, nil, map[string]string{b3Single: other + "-" + own + "-0"}, fromEnvoy},
		"the id does not decide": {Config{Inject: []Format{B3}, IgnoreRequestID: true}, other, own, nil,
			map[string]string{b3Single: other + "-" + own + "-1"}, fromEnvoy},
		"a format that the tracer does not read": {Config{Extract: []Format{W3C}, Inject: []Format{B3}}, other, own, []string{"x-b3-sampled: 0", sampled},
			map[string]string{b3Single: other + "-" + own + "-1", b3TraceID: other, b3SpanID: own, b3Sampled: "1"}, fromEnvoy},
		"another trace": {Config{Inject: []Format{B3}}, other, own, []string{"uber-trace-id: 1:2:0:1", "traceparent: junk", sampled},
			map[string]string{uberTraceID: "1:2:0:1", traceparent: "junk"}, "jaeger"},
	} {
		t.Run(name, func(t *testing.T) {
			x := translate(t, c.config, c.trace, c.id, c.in...)
			check(t, x, c.want)
			if n := counted(x, metricContexts, c.source, "true") + counted(x, metricContexts, c.source, "false"); n != 1 {
				t.Errorf("%d contexts of %s: %v", n, c.source, x.Host.(*filtertest.Host).Series())
			}
		})
	}
}

// Without a span there is nothing to translate, and no new trace is made up.
func TestTranslateNoSpan(t *testing.T) {
	x := translate(t, Config{}, "", "", "b3: 0")
	check(t, x, map[string]string{b3Single: "0"})
	if counted(x, metricInvalid, fromEnvoy) != 1 || x.Request.Value(requestID) != "" {
		t.Errorf("%v", x.Host.(*filtertest.Host).Series())
	}
}

func TestTranslateRefused(t *testing.T) {
	for config, want := range map[string]string{
		`{"translate":true}`:                            "only the dynamic module",
		`{"translate":true,"sampling":{"perSecond":1}}`: "sampling",
		`{"translate":true,"export":{"protocol":"zipkin","cluster":"c","service":"s","kind":"server"}}`: "export",
		`{"ignoreRequestId":true}`: "only with translate",
	} {
		c, err := ParseConfig([]byte(config))
		if err == nil {
			_, err = New(c, filtertest.Env())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}
