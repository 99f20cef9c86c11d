package xdsgen

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/matcher/action/v3" // for otherPorts
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3" // for otherPorts
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

const (
	// firstExtension is how long a new listener waits for an extension before it begins with what its failStrategy says. The control
	// plane has an answer at once: only if it goes away at just that moment does this matter.
	firstExtension = 5 // seconds
	// A proxy asks for a module so long, and so many times more.
	moduleTimeout = 30 * time.Second
	moduleRetries = 5
)

// pluginConfig is Envoy's of a proxy-wasm plugin. Plugins of one module and one environment share a VM.
func (in extensionInput) pluginConfig(code *corev3.AsyncDataSource) (*wasmv3.PluginConfig, error) {
	w := in.Extension.Wasm
	id, err := vmID(w)
	if err != nil {
		return nil, err
	}
	vm := &wasmv3.VmConfig{VmId: id, Runtime: "envoy.wasm.runtime.v8", Code: code}
	if len(w.Env)+len(w.HostEnv) > 0 {
		vm.EnvironmentVariables = &wasmv3.EnvironmentVariables{HostEnvKeys: w.HostEnv, KeyValues: w.Env}
	}
	out := &wasmv3.PluginConfig{
		Name: in.name(), RootId: w.Plugin, Vm: &wasmv3.PluginConfig_VmConfig{VmConfig: vm}, FailurePolicy: wasmv3.FailurePolicy_FAIL_CLOSED,
	}
	switch w.Failure {
	case mesh.FailOpen:
		out.FailurePolicy = wasmv3.FailurePolicy_FAIL_OPEN
	case mesh.FailReload:
		out.FailurePolicy = wasmv3.FailurePolicy_FAIL_RELOAD
	}
	if w.Config != "" {
		out.Configuration, err = toAny(wrapperspb.String(w.Config))
	}
	return out, err
}

// vmID tells VMs apart. Envoy would have two modules that it fetched share one, and two environments.
func vmID(w *mesh.Wasm) (string, error) {
	d, err := digestOf("vm", []any{w.Digest, w.File, w.Env, w.HostEnv})
	return hex.EncodeToString(d[:8]), err
}

func localModule(file string) *corev3.AsyncDataSource {
	return &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Local{Local: &corev3.DataSource{
		Specifier: &corev3.DataSource_Filename{Filename: file},
	}}}
}

// remoteModule is fetched from the control plane, by its content.
func remoteModule(server, digest string) *corev3.AsyncDataSource {
	return &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Remote{Remote: &corev3.RemoteDataSource{
		HttpUri: &corev3.HttpUri{
			Uri: fmt.Sprintf("http://%s%s%s.wasm", server, ModulePath, digest), Timeout: durationpb.New(moduleTimeout),
			HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: mesh.ModuleCluster},
		},
		Sha256: digest,
		RetryPolicy: &corev3.RetryPolicy{NumRetries: wrapperspb.UInt32(moduleRetries), RetryBackOff: &corev3.BackoffStrategy{
			BaseInterval: durationpb.New(500 * time.Millisecond), MaxInterval: durationpb.New(5 * time.Second),
		}},
	}}}
}

// ModulePath is where the control plane serves modules: ModulePath + digest + ".wasm".
const ModulePath = "/wasm/"

// otherPorts skips a filter for requests whose authority the regular expression does not match.
const otherPorts = `{"xdsMatcher": {"matcherList": {"matchers": [{
  "predicate": {"notMatcher": {"singlePredicate": {
    "input": {"name": "authority", "typedConfig": {"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "headerName": ":authority"}},
    "valueMatch": {"safeRegex": {"googleRe2": {}, "regex": %q}}}}},
  "onMatch": {"action": {"name": "skip", "typedConfig": {"@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}}}
}]}}}`

// skipOtherPorts has a filter skipped for requests to none of the ports: one without a port is to 80.
func skipOtherPorts(ports []uint32, filter *corev3.TypedExtensionConfig) (*matchingv3.ExtensionWithMatcher, error) {
	var names []string
	for _, p := range ports {
		names = append(names, portText(p))
	}
	re := `.*[^:]:(` + strings.Join(names, "|") + `)`
	if slices.Contains(ports, 80) {
		re += `|[^:]*|\[[^\]]*\]`
	}
	out := &matchingv3.ExtensionWithMatcher{}
	if err := protojson.Unmarshal(fmt.Appendf(nil, otherPorts, re), out); err != nil {
		return nil, fmt.Errorf("match ports: %w", err)
	}
	out.ExtensionConfig = filter
	return out, nil
}
