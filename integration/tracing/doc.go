// Package tracing tests that spans made by the filter reach real collectors: Zipkin's own server, and an OpenTelemetry
// Collector made of its Go modules, through the clusters of real Envoys.
package tracing
