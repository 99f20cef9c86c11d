package kubeinject

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/injector/inject"
)

// apply changes a decoded JSON object by a patch of injector/inject. Where the object leaves out what Kubernetes' types always write
// (a container's empty resources), it is made on the way.
func apply(root map[string]any, ops []inject.Operation) error {
	var doc any = root
	for _, op := range ops {
		raw, err := json.Marshal(op.Value)
		if err != nil {
			return fmt.Errorf("%s %s: %w", op.Op, op.Path, err)
		}
		op.Value = nil // from here on as JSON has it
		if err := json.Unmarshal(raw, &op.Value); err != nil {
			return fmt.Errorf("%s %s: %w", op.Op, op.Path, err)
		}
		keys := strings.Split(strings.TrimPrefix(op.Path, "/"), "/")
		for i, k := range keys {
			keys[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(k)
		}
		out, err := step(doc, keys, op)
		if err != nil {
			return fmt.Errorf("%s %s: %w", op.Op, op.Path, err)
		}
		doc = out
	}
	return nil
}

// step returns v with the operation done to what keys lead to.
func step(v any, keys []string, op inject.Operation) (any, error) {
	switch x := v.(type) {
	case nil:
		return step(map[string]any{}, keys, op)
	case map[string]any:
		if len(keys) == 1 {
			if op.Op == "remove" {
				delete(x, keys[0])
			} else {
				x[keys[0]] = op.Value
			}
			return x, nil
		}
		child, err := step(x[keys[0]], keys[1:], op)
		if err != nil {
			return nil, err
		}
		x[keys[0]] = child
		return x, nil
	case []any:
		i, err := strconv.Atoi(keys[0])
		if err != nil || i < 0 || i > len(x) || i == len(x) && (op.Op != "add" || len(keys) > 1) {
			return nil, fmt.Errorf("no item %s among %d", keys[0], len(x))
		}
		switch {
		case len(keys) > 1:
			x[i], err = step(x[i], keys[1:], op)
			return x, err
		case op.Op == "add":
			return slices.Insert(x, i, op.Value), nil
		case op.Op == "remove":
			return slices.Delete(x, i, i+1), nil
		}
		x[i] = op.Value
		return x, nil
	}
	return nil, fmt.Errorf("there is %T", v)
}
