package main

import (
	"strings"
	"testing"
)

// TestControlplaneSource: a control plane reads files or a cluster, and says so if a user names both or neither.
func TestControlplaneSource(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--config", "x", "--kubeconfig", "y"}, exitUsage, "from files or from a cluster"},
		{nil, exitFailed, "no --config PATH was given, and no cluster"},
		{[]string{"--kubeconfig", "/nowhere"}, exitFailed, "read kubeconfig"},
	} {
		var out, errs strings.Builder
		code := execute(t.Context(), append([]string{"controlplane"}, c.args...), strings.NewReader(""), &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: status %d, %s", c.args, code, errs.String())
		}
	}
}
