// Package podnet is the network of a local mesh whose workloads have network namespaces of their own: `mizzen up --isolation netns`.
//
// Each pod is a namespace with one address of 10.244.0.0/16, and all are on one bridge, in a namespace that belongs to the mesh: the
// hub. Nothing is made in the machine's own namespace, no link, address, route or rule. What leaves the pods' range comes to
// the hub, where it is taken by interception, and connected anew by this process: an address of a service as kube-proxy would, the
// hub's own address to the machine's loopback, any other from the machine. So two meshes never meet, and no NAT of the machine's
// is needed. Only TCP leaves, and questions to the DNS server of the hub.
package podnet
