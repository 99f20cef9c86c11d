// Package graph shows that `mizzen graph` and the control plane's page tell who calls whom in a mesh of real Envoys with traffic.
package graph
