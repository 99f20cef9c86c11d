package main

import (
	"slices"
	"testing"
)

func TestFlagsFromEnv(t *testing.T) {
	env := map[string]string{"MIZZEN_CONFIG": "a:b", "MIZZEN_XDS_ADDR": "127.0.0.1:1", "MIZZEN_HTTP_ADDR": "127.0.0.1:2"}
	cmd := newControlplaneCommand()
	if err := cmd.Flags().Parse([]string{"--http-addr", "127.0.0.1:3"}); err != nil {
		t.Fatal(err)
	}
	if err := flagsFromEnv(cmd, func(k string) string { return env[k] }, "config", "xds-addr", "http-addr"); err != nil {
		t.Fatal(err)
	}
	paths, _ := cmd.Flags().GetStringArray("config")
	xds, _ := cmd.Flags().GetString("xds-addr")
	http, _ := cmd.Flags().GetString("http-addr")
	if !slices.Equal(paths, []string{"a", "b"}) || xds != "127.0.0.1:1" || http != "127.0.0.1:3" {
		t.Errorf("config %v, xds %s, http %s: a flag beats its variable, which beats the default", paths, xds, http)
	}
}
