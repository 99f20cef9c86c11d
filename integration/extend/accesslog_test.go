package extend

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// TestAccessLogJSON: MeshConfig's accessLogEncoding JSON gives a JSON object for each request, in Istio's format and in one's own.
func TestAccessLogJSON(t *testing.T) {
	for name, format := range map[string]string{"Istio's": "", "own": `accessLogFormat: '{"response_code": "%RESPONSE_CODE%", "path": "%REQ(:PATH)%", "mine": "yes"}'`} {
		t.Run(name, func(t *testing.T) {
			m := shared.Mesh(t)
			c := m.From(t, "front-0")
			log := filepath.Join(t.TempDir(), "access.log")
			m.Apply(t, fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: %s
    accessLogEncoding: JSON
    %s
`, log, format))
			meshtest.Eventually(t, "a line as an object", func() bool {
				if a := c.Must(t, api+"logged"); a.Code != 200 {
					return false
				}
				b, _ := os.ReadFile(log)
				for s := bufio.NewScanner(strings.NewReader(string(b))); s.Scan(); {
					var line map[string]any
					if json.Unmarshal(s.Bytes(), &line) == nil && line["path"] == "/logged" && line["response_code"] == 200. && (line["mine"] == "yes") == (format != "") {
						return true
					}
				}
				return false
			})
		})
	}
}
