// Package agent runs beside an Envoy in a pod: mizzen proxy. It makes Envoy's bootstrap from what the pod knows of itself, keeps its
// identity, carries its configuration from the control plane and keeps the last that Envoy accepted, starts and watches Envoy, tells
// kubelet and Prometheus about it, asks the application for kubelet, and has connections end before Envoy does.
package agent
