// Package compose tests docker-compose.yaml on a real Docker engine: the engine is started for the test, in namespaces of its own, the images
// are built on stand-ins of the public bases, and the example shop runs. `make test-compose` sets everything up.
package compose
