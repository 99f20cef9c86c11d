package canary

import "github.com/mizzen-mesh/mizzen/filters/filter"

// class is the class of a response's status.
type class uint8

const (
	noClass class = iota
	classes class = 6 // 1 to 5 are the first digit of the status
)

// classLabels are the values of the label "class".
var classLabels = [classes]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// classOf is the class of the status; of a gRPC error that is told in the headers (there is no body then) the class that
// Envoy would answer to a client of plain HTTP. An error told in trailers is not seen here.
func classOf(h *filter.Headers) class {
	if code := h.Value("grpc-status"); code != "" && code != "0" {
		return grpcClass(code)
	}
	if s := h.Value(":status"); len(s) == 3 && s[0] >= '1' && s[0] <= '5' {
		return class(s[0] - '0')
	}
	return noClass
}

// grpcClass is 5xx where the server is to blame, else 4xx.
func grpcClass(code string) class {
	switch code {
	case "2", "4", "12", "13", "14", "15": // UNKNOWN DEADLINE_EXCEEDED UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS
		return 5
	}
	return 4
}
