package fault_test

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/fault"
)

func TestConfigErrors(t *testing.T) {
	rule := func(s string) string { return `{"rules":[{` + s + `}]}` }
	dist := func(s string) string {
		return rule(`"delay":{"percentage":1,"distribution":{` + s + `}}`)
	}
	for _, c := range []struct{ config, want string }{
		{`{"rule":[]}`, "rule"},
		{rule(``), "rules[0].delay: is missing, and abort and responseRate too"},
		{rule(`"delay":{"percentage":1}`), "delay.fixed: is missing"},
		{rule(`"delay":{"percentage":101,"fixed":"1s"}`), "percentage 101"},
		{rule(`"delay":{"percentage":1,"fixed":"1s","distribution":{"kind":"exponential","mean":"1s"}}`), "exactly one"},
		{rule(`"delay":{"percentage":1,"fixed":"-1s"}`), "-1s"},
		{rule(`"abort":{"percentage":1}`), "abort.httpStatus: is missing"},
		{rule(`"abort":{"percentage":1,"httpStatus":199}`), "write 200 to 599"},
		{rule(`"abort":{"percentage":1,"httpStatus":600}`), "write 200 to 599"},
		{rule(`"abort":{"percentage":1,"grpcStatus":17}`), "write 0 to 16"},
		{rule(`"abort":{"percentage":1,"grpcStatus":1,"httpStatus":500}`), "exactly one"},
		{rule(`"responseRate":{"percentage":1}`), "responseRate.kibPerSecond: is missing"},
		{rule(`"responseRate":{"percentage":1,"kibPerSecond":-1}`), "kibPerSecond"},
		{rule(`"responseRate":{"percentage":1,"kibPerSecond":1073741825}`), "write at most 1073741824"},
		{rule(`"responseRate":{"percentage":101,"kibPerSecond":1}`), "percentage 101"},
		{rule(`"metadata":{"":"a"},"abort":{"percentage":1,"httpStatus":500}`), "rules[0].metadata: \"\""},
		{rule(`"metadata":{"a":""},"abort":{"percentage":1,"httpStatus":500}`), "rules[0].metadata: \"a\""},
		{rule(`"metadata":{"a":"b\nc"},"abort":{"percentage":1,"httpStatus":500}`), "control character"},
		{rule(`"name":"a\tb","abort":{"percentage":1,"httpStatus":500}`), "control character"},
		{rule(`"key":{},"abort":{"percentage":1,"httpStatus":500}`), "key: is empty"},
		{rule(`"match":[{"path":{}}],"abort":{"percentage":1,"httpStatus":500}`), "match[0].path: has no condition"},
		{rule(`"from":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z","abort":{"percentage":1,"httpStatus":500}`), "is not after from"},
		{dist(`"kind":"gaussian"`), "kind: \"gaussian\" is unknown; write uniform"},
		{dist(`"kind":"uniform","min":"2s","max":"1s"`), "not below min"},
		{dist(`"kind":"uniform"`), "max: must be above 0"},
		{dist(`"kind":"normal","stdDev":"1s"`), "mean: is needed"},
		{dist(`"kind":"exponential"`), "mean: is needed"},
		{dist(`"kind":"exponential","mean":"1s","shape":2`), "shape: has no meaning for kind exponential"},
		{dist(`"kind":"pareto","min":"1s"`), "min and shape: are needed"},
		{dist(`"kind":"histogram"`), "percentiles: is empty"},
		{dist(`"kind":"histogram","percentiles":[{"p":50,"value":"2s"},{"p":50,"value":"3s"}]`), "percentiles[1]: p must rise"},
		{dist(`"kind":"histogram","percentiles":[{"p":50,"value":"2s"},{"p":90,"value":"1s"}]`), "percentiles[1]:"},
		{dist(`"kind":"histogram","percentiles":[{"p":101,"value":"2s"}]`), "percentiles[0]:"},
	} {
		if _, err := fault.ParseConfig([]byte(c.config)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %q in it", c.config, err, c.want)
		}
	}
}
