package istio

import (
	"strings"
	"testing"
)

func TestLogFormat(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"plain 100%%", ""},
		{"[%START_TIME%] %REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %RESP(x-a):10%", ""},
		{"%DYNAMIC_METADATA(a:b)% %FILTER_STATE(k:PLAIN)% %FILTER_STATE(k:FIELD:f)% %START_TIME(%Y/%m)%", ""},
		{"%CEL(request.path)% %METADATA(ROUTE:istio)% %PATH(WQ:ORIG)% %GRPC_STATUS(NUMBER)%", ""},
		{"100% of it", "no command"},
		{"%RESPONSE_CDE%", "did you mean %RESPONSE_CODE%?"},
		{"%REQ%", "wants parameters"},
		{"%DURATION(x)%", "takes no parameters"},
		{"%DURATION:3%", "takes no length"},
		{"%REQ(a?b?c)%", "wrong parameters"},
		{"%FILTER_STATE(k:HEX)%", "wrong parameters"},
		{"%CEL(request.path ==)%", "ends too early"},
		{"%METADATA(x:y)%", "wrong parameters"},
	} {
		message, fix := logFormat(c.format)
		if got := message + " " + fix; (message == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("logFormat(%q) = %q, want %q", c.format, got, c.want)
		}
	}
}
