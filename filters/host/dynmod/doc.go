// Package dynmod runs the policy chain inside a stock Envoy, as a dynamic module. It speaks Envoy's C ABI itself: the
// C half (envoy.c) answers most events of a stream alone, and enters Go once for a request, with all its headers
// gathered; the Go half runs filter.Run and returns one script of what Envoy shall do, which C plays. Go is entered
// again only for the response or the end of an exchange that some policy still cares for (filter.Exchange.Done), and
// to resume after a Wait or a Call. A request that no policy bears on never enters Go.
package dynmod
