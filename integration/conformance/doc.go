// Package conformance runs the corpus of filters/conformance against real Envoys: with Mizzen's dynamic module, and
// with Envoy's native filters as the judge. Each executor is one Envoy that has a listener for every case.
package conformance
