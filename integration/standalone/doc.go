// Package standalone tests Mizzen's filters in a stock Envoy without a control plane: the dynamic-module host, and every
// file of envoy-configs with the traffic that its comment promises.
package standalone
