package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// entry is the plugin's in a configuration list.
type entry struct {
	Type string `json:"type"`
	settings
	Capabilities map[string]bool `json:"capabilities"`
}

func newEntry(kind string, s settings) ([]byte, error) {
	raw, err := json.Marshal(entry{kind, s, map[string]bool{annotations: true}})
	if err != nil {
		return nil, fmt.Errorf("write the plugin's entry: %w", err)
	}
	return raw, nil
}

// member is a plugin of a configuration list: where it stands in the text, and its type.
type member struct {
	start, end int
	kind       string
}

// members are the plugins of a configuration list.
func members(list []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(list))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("read configuration list: it is no object"), err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("read configuration list: %w", err)
		}
		if key == "plugins" {
			return array(d)
		}
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			return nil, fmt.Errorf("read configuration list: %w", err)
		}
	}
	return nil, errors.New("read configuration list: it has no plugins")
}

func array(d *json.Decoder) ([]member, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.Join(errors.New("read configuration list: plugins are no list"), err)
	}
	var out []member
	for d.More() {
		var raw json.RawMessage
		var is struct {
			Type string `json:"type"`
		}
		err := d.Decode(&raw)
		if err == nil {
			err = json.Unmarshal(raw, &is)
		}
		if err != nil {
			return nil, fmt.Errorf("read configuration list: %w", err)
		}
		end := int(d.InputOffset())
		out = append(out, member{end - len(raw), end, is.Type})
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("read configuration list: %w", err)
	}
	if len(out) == 0 {
		return nil, errors.New("read configuration list: it has no plugins")
	}
	return out, nil
}

// chain puts the entry of a type behind the other plugins of a list, or in the place of the one that is there. The rest of the text stays as it is.
func chain(list []byte, kind string, entry []byte) ([]byte, error) {
	all, err := members(list)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(m member) bool { return m.kind == kind }); i >= 0 {
		return slices.Concat(list[:all[i].start], entry, list[all[i].end:]), nil
	}
	last := all[len(all)-1].end
	return slices.Concat(list[:last], []byte(",\n    "), entry, list[last:]), nil
}

// unchain takes the entry of a type out again: what chain made of a text becomes that text. others tells how many plugins there are besides.
func unchain(list []byte, kind string) (out []byte, others int, err error) {
	all, err := members(list)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(all, func(m member) bool { return m.kind == kind })
	switch {
	case i < 0:
		return list, len(all), nil
	case i > 0:
		list = slices.Concat(list[:all[i-1].end], list[all[i].end:])
	case len(all) > 1:
		list = slices.Concat(list[:all[0].start], list[all[1].start:])
	}
	return list, len(all) - 1, nil
}

// listOf makes a list of a configuration of one plugin.
func listOf(conf []byte) ([]byte, error) {
	var c struct {
		CNIVersion string `json:"cniVersion"`
		Name       string `json:"name"`
		Type       string `json:"type"`
	}
	if err := json.Unmarshal(conf, &c); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if c.Type == "" {
		return nil, errors.New("read configuration: it has no type")
	}
	raw, err := json.MarshalIndent(map[string]any{"cniVersion": c.CNIVersion, "name": c.Name, "plugins": []json.RawMessage{conf}}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write configuration list: %w", err)
	}
	return raw, nil
}
