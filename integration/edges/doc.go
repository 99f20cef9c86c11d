// Package edges tests what happens where traffic enters and leaves the mesh, with real Envoys: TLS at gateways, TLS passed
// through by server name, TCP routes, delegation, egress gateways and protocol detection.
package edges
