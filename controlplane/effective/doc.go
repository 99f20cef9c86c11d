// Package effective says what Istio's layers of a proxy's settings come to: one function, for everybody who starts a proxy or
// makes its configuration (the control plane, the local mesh, the injector).
package effective
