package filtertest

import "github.com/mizzen-mesh/mizzen/filters/filter"

// QuietHost is a filter.Host that costs nothing and keeps nothing, so that a benchmark measures the policy.
type QuietHost struct{}

// RouteName is "".
func (QuietHost) RouteName() string { return "" }

// SourceAddress is an address of RFC 1918.
func (QuietHost) SourceAddress() string { return "10.0.0.1" }

// Count does nothing.
func (QuietHost) Count(*filter.Metric, int64, ...string) {}

// Annotate does nothing.
func (QuietHost) Annotate(string, string) {}

// Flag does nothing.
func (QuietHost) Flag(string) {}
