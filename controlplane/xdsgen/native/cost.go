package native

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
)

// costs gives limit, whose descriptor it leaves alone, what a request costs. Envoy asks nothing at all about a request whose
// header is absent or no number, and knows no most. So a cost by header becomes three of the limit, of which one holds for a
// request: the header's own number, up to the most; the most; and 1.
func costs(limit *routev3.RateLimit, h *ratelimit.HitsAddend) ([]*routev3.RateLimit, error) {
	switch {
	case h == nil || h.Header == "" && h.Number == 1:
		return []*routev3.RateLimit{limit}, nil
	case h.Header == "":
		limit.HitsAddend = &routev3.RateLimit_HitsAddend{Number: wrapperspb.UInt64(uint64(h.Number))}
		return []*routev3.RateLimit{limit}, nil
	}
	most := cmp.Or(h.Max, ratelimit.MaxHits)
	if limit.Actions[0].GetQueryParameterValueMatch() != nil {
		return nil, errors.New("stock Envoy cannot look at the query and at the header of hitsAddend for one global limit: match a header, too")
	}
	fits, number := upTo(most), "[1-9][0-9]*"
	return []*routev3.RateLimit{
		priced(limit, &routev3.RateLimit_HitsAddend{Format: "%REQ(" + h.Header + ")%"}, cost(h.Header, fits, true)),
		priced(limit, &routev3.RateLimit_HitsAddend{Number: wrapperspb.UInt64(uint64(most))},
			cost(h.Header, number, true), cost(h.Header, fits, false)),
		priced(limit, nil, cost(h.Header, number, false)),
	}, nil
}

// priced is limit for requests whose header fits. The conditions stand with the first header match of the limit, or in place of its
// first entry, so that the descriptor is the same.
func priced(limit *routev3.RateLimit, h *routev3.RateLimit_HitsAddend, headers ...*routev3.HeaderMatcher) *routev3.RateLimit {
	out := proto.CloneOf(limit)
	out.HitsAddend = h
	for _, a := range out.Actions {
		if m := a.GetHeaderValueMatch(); m != nil {
			m.Headers = append(m.Headers, headers...)
			return out
		}
	}
	name := out.Actions[0].GetGenericKey()
	out.Actions[0] = &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_HeaderValueMatch_{
		HeaderValueMatch: &routev3.RateLimit_Action_HeaderValueMatch{
			DescriptorKey: name.DescriptorKey, DescriptorValue: name.DescriptorValue, Headers: headers,
		},
	}}
	return out
}

// cost matches a header that is the expression, or one that is not or is absent.
func cost(header, expression string, is bool) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: strings.ToLower(header), InvertMatch: !is, TreatMissingHeaderAsEmpty: true,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: expression}},
		}},
	}
}

// upTo is an expression for the decimal numbers from 1 to most.
func upTo(most uint32) string {
	digits := strconv.FormatUint(uint64(most), 10)
	var parts []string
	if n := len(digits); n > 1 {
		parts = append(parts, fmt.Sprintf("[1-9][0-9]{0,%d}", n-2))
	}
	for i, d := range digits {
		low := '0'
		if i == 0 {
			low = '1'
		}
		if d > low {
			parts = append(parts, fmt.Sprintf("%s[%c-%c][0-9]{%d}", digits[:i], low, d-1, len(digits)-i-1))
		}
	}
	return strings.Join(append(parts, digits), "|")
}
