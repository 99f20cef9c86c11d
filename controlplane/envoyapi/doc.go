// Package envoyapi reads Envoy's own configuration where users write it: strictly, and saying where a mistake stands.
package envoyapi
