package istio

import (
	"encoding/json"

	meshconfig "istio.io/api/mesh/v1alpha1"
)

// validateLogFormat checks that a format for JSON is an object.
func validateLogFormat(m *Meta, spec *meshconfig.MeshConfig) Diagnostics {
	v := &validator{meta: m}
	var object map[string]any
	if f := spec.GetAccessLogFormat(); f != "" && spec.GetAccessLogEncoding() == meshconfig.MeshConfig_JSON && json.Unmarshal([]byte(f), &object) != nil {
		v.fail("data.mesh.accessLogFormat", "accessLogEncoding JSON wants a JSON object of formats", `write {"code": "%RESPONSE_CODE%"}`)
	}
	return v.diags
}
