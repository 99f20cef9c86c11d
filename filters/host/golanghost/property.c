// Envoy's attributes by name, as text: what GetProperty reads.
#include "golanghost.h"

#include <stdio.h>
#include <string.h>

#define ID(name) envoy_dynamic_module_type_attribute_id_##name

typedef struct {
  const char *name;
  envoy_dynamic_module_type_attribute_id id;
} named;

static const named texts[] = {
    {"request.path", ID(RequestPath)},
    {"request.url_path", ID(RequestUrlPath)},
    {"request.host", ID(RequestHost)},
    {"request.scheme", ID(RequestScheme)},
    {"request.method", ID(RequestMethod)},
    {"request.referer", ID(RequestReferer)},
    {"request.useragent", ID(RequestUserAgent)},
    {"request.id", ID(RequestId)},
    {"request.protocol", ID(RequestProtocol)},
    {"request.query", ID(RequestQuery)},
    {"response.code_details", ID(ResponseCodeDetails)},
    {"source.address", ID(SourceAddress)},
    {"destination.address", ID(DestinationAddress)},
    {"connection.requested_server_name", ID(ConnectionRequestedServerName)},
    {"connection.tls_version", ID(ConnectionTlsVersion)},
    {"connection.subject_local_certificate", ID(ConnectionSubjectLocalCertificate)},
    {"connection.subject_peer_certificate", ID(ConnectionSubjectPeerCertificate)},
    {"connection.dns_san_peer_certificate", ID(ConnectionDnsSanPeerCertificate)},
    {"connection.uri_san_local_certificate", ID(ConnectionUriSanLocalCertificate)},
    {"connection.uri_san_peer_certificate", ID(ConnectionUriSanPeerCertificate)},
    {"connection.termination_details", ID(ConnectionTerminationDetails)},
    {"upstream.address", ID(UpstreamAddress)},
    {"upstream.local_address", ID(UpstreamLocalAddress)},
    {"upstream.transport_failure_reason", ID(UpstreamTransportFailureReason)},
    {"xds.cluster_name", ID(XdsClusterName)},
    {"xds.route_name", ID(XdsRouteName)},
    {"xds.virtual_host_name", ID(XdsVirtualHostName)},
    {"xds.filter_chain_name", ID(XdsFilterChainName)},
};

static const named numbers[] = {
    {"request.size", ID(RequestSize)},         {"request.total_size", ID(RequestTotalSize)},
    {"response.code", ID(ResponseCode)},       {"response.size", ID(ResponseSize)},
    {"response.flags", ID(ResponseFlags)},     {"response.grpc_status", ID(ResponseGrpcStatus)},
    {"source.port", ID(SourcePort)},           {"destination.port", ID(DestinationPort)},
    {"connection.id", ID(ConnectionId)},       {"upstream.port", ID(UpstreamPort)},
};

static bool is(const char *key, size_t n, const char *name) { return strlen(name) == n && memcmp(key, name, n) == 0; }

// route_metadata reads a text from the route's metadata: "NAMESPACE.KEY", of which the namespace has no dot here.
static bool route_metadata(request *r, const char *path, size_t n, bytes *to) {
  const char *dot = memchr(path, '.', n);
  if (dot == NULL) {
    return false;
  }
  envoy_dynamic_module_type_module_buffer space = {path, (size_t)(dot - path)}, key = {dot + 1, n - (size_t)(dot + 1 - path)};
  envoy_dynamic_module_type_envoy_buffer b = {0};
  bool found = envoy_dynamic_module_callback_http_get_metadata_string(
      r->filter, envoy_dynamic_module_type_metadata_source_Route, space, key, &b);
  if (found) {
    put(to, b.ptr, b.length);
  }
  return found;
}

bool property(request *r, const char *key, size_t n, bytes *to) {
  static const char metadata[] = "xds.route_metadata.filter_metadata.";
  size_t prefix = sizeof metadata - 1;
  if (n > prefix && memcmp(key, metadata, prefix) == 0) {
    return route_metadata(r, key + prefix, n - prefix, to);
  }
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    envoy_dynamic_module_type_envoy_buffer b = {0};
    if (is(key, n, texts[i].name)) {
      bool found = envoy_dynamic_module_callback_http_filter_get_attribute_string(r->filter, texts[i].id, &b);
      if (found) {
        put(to, b.ptr, b.length);
      }
      return found;
    }
  }
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    uint64_t value = 0;
    if (is(key, n, numbers[i].name)) {
      bool found = envoy_dynamic_module_callback_http_filter_get_attribute_int(r->filter, numbers[i].id, &value);
      if (found) {
        char digits[24];
        int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
        put(to, digits, (size_t)len);
      }
      return found;
    }
  }
  return false;
}
