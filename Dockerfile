# Mizzen's images, a target each:
#
#   controlplane  the whole program, static: control plane, injector, rate-limit server
#   proxy         a stock Envoy with the small agent beside it: sidecar, gateway, and what sets interception up
#   module        the policies for Envoy (libmizzen.so), and a program that copies them to where an Envoy finds them
#   app           an application that answers with who it is
#   wasm          as module, with the policies as WebAssembly
#   golang        as module, with the policies for the golang filter of a contrib Envoy
#
# All Go code is compiled in one stage, so that the targets share it; no builder needs more than a Dockerfile's oldest
# instructions. GOPROXY and GOFLAGS are taken from outside: docker build --build-arg GOPROXY=...
# ENVOY_IMAGE is what proxy is made from: envoyproxy/envoy:contrib-v1.39.3 where the policies are those of target golang.
ARG GO_IMAGE=golang:1.26-bookworm
ARG ENVOY_IMAGE=envoyproxy/envoy:v1.39.3

FROM ${GO_IMAGE} AS source
ARG GOPROXY
ARG GOFLAGS
ENV GOTOOLCHAIN=local
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# What others have written, compiled in a layer of its own: an edit of Mizzen's code leaves it as it is. A package that is
# missing here is compiled with the rest.
RUN CGO_ENABLED=0 go build -trimpath \
	github.com/envoyproxy/go-control-plane/contrib/envoy/extensions/filters/http/golang/... \
	github.com/envoyproxy/go-control-plane/envoy/... \
	github.com/prometheus/client_golang/prometheus/promhttp \
	github.com/redis/go-redis/v9 \
	github.com/spf13/cobra \
	google.golang.org/grpc/health \
	helm.sh/helm/v3/pkg/action \
	istio.io/api/annotation \
	istio.io/api/mesh/... \
	istio.io/api/networking/... \
	istio.io/api/security/... \
	istio.io/api/telemetry/... \
	k8s.io/client-go/dynamic/dynamicinformer \
	k8s.io/client-go/informers \
	k8s.io/client-go/tools/leaderelection
COPY . .

FROM source AS build
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/mizzen ./cmd/mizzen \
	&& CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/agent ./cmd/agent \
	&& make build/libmizzen.so \
	&& mkdir -p /out/controlplane/var/lib/mizzen /out/controlplane/var/run/secrets /out/module/var/lib/mizzen /out/module/mizzen \
	&& cp build/libmizzen.so /out/module/mizzen/

FROM scratch AS controlplane
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/mizzen /usr/local/bin/mizzen
# Where volumes may be laid that this user writes.
COPY --from=build --chown=65532:65532 /out/controlplane /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/mizzen"]

FROM ${ENVOY_IMAGE} AS proxy
USER root
RUN apt-get update \
	&& apt-get install -y --no-install-recommends iptables nftables \
	&& rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log \
	&& mkdir -p /etc/istio/proxy /var/lib/istio/data \
	&& chown 1337:1337 /etc/istio/proxy /var/lib/istio/data
COPY --from=build /out/agent /usr/local/bin/mizzen
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/mizzen"]

FROM scratch AS module
COPY --from=build /out/agent /usr/local/bin/mizzen
COPY --from=build --chown=65532:65532 /out/module /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/mizzen"]
CMD ["module", "copy", "--to", "/var/lib/mizzen"]

FROM scratch AS app
COPY --from=build /out/agent /usr/local/bin/mizzen
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/mizzen"]
CMD ["standin"]

# Behind the targets above, so that a builder that makes every stage in turn makes these only when they are asked for.
FROM build AS build-wasm
RUN GOOS=wasip1 GOARCH=wasm go build -trimpath -buildmode=c-shared -ldflags="-s -w" -o /out/wasm/mizzen/mizzen.wasm ./wasm/cmd/mizzen \
	&& mkdir -p /out/wasm/var/lib/mizzen

FROM scratch AS wasm
COPY --from=build /out/agent /usr/local/bin/mizzen
COPY --from=build-wasm --chown=65532:65532 /out/wasm /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/mizzen"]
CMD ["module", "copy", "--from", "/mizzen/mizzen.wasm", "--to", "/var/lib/mizzen"]

FROM build AS build-golang
RUN make build/libmizzen-golang.so \
	&& mkdir -p /out/golang/mizzen /out/golang/var/lib/mizzen \
	&& cp build/libmizzen-golang.so /out/golang/mizzen/

FROM scratch AS golang
COPY --from=build /out/agent /usr/local/bin/mizzen
COPY --from=build-golang --chown=65532:65532 /out/golang /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/mizzen"]
CMD ["module", "copy", "--from", "/mizzen/libmizzen-golang.so", "--to", "/var/lib/mizzen"]
