// Package dns answers the questions of a pod's applications for names of the mesh, and passes on the others. The names come from the
// control plane (nds.Table), as the pod may see them. The sidecar's agent and the local mesh use it.
package dns
