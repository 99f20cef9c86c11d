package tinywasm

import (
	"testing"

	"github.com/tetratelabs/wazero"
)

// TestModules: a runtime takes every module that can be written.
func TestModules(t *testing.T) {
	for name, p := range map[string]Plugin{
		"nothing": {}, "header": {RequestHeader: [2]string{"x-a", "b"}, ResponseHeader: [2]string{"x-c", ""}}, "env": {Env: "x-env"},
		"refuse": {Refuse: 403}, "trap": {TrapAbove: 9}, "config": {BadConfig: true}, "connections": {CloseConnections: true}, "none": {NotForProxies: true},
	} {
		r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
		if _, err := r.CompileModule(t.Context(), p.Module()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = r.Close(t.Context())
	}
}
