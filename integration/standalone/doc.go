// Package standalone tests Mizzen's filters in a stock Envoy without a control plane: the hosts, and every file of
// envoy-configs with the traffic, and the commands, that its comment promises.
package standalone
