// Package injector holds no code: the injector is in its directories. Its test drives both ways to it, `mizzen kube-inject` and the
// webhook, over one corpus, testdata/inject.
package injector
