// Package ratelimit tests limits that hold over all proxies together: real Envoys, with Mizzen's filter and with
// Envoy's own, the rate-limit service, and a real Redis.
package ratelimit
