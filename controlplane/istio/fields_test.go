package istio

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestEveryFieldIsInTheTable is test 1 of the support table: a path of the API that the table does not name fails.
func TestEveryFieldIsInTheTable(t *testing.T) {
	for _, f := range Fields() {
		if f.Reason == "not in the support table" {
			t.Errorf("%s %s is not in fields_table.go", f.Kind, f.Path)
		}
		if f.Status != Supported && f.Reason == "" {
			t.Errorf("%s %s is %s without a reason", f.Kind, f.Path, f.Status)
		}
	}
}

// TestEveryLineOfTheTableIsAField is its other half: a line for what the API does not have, or has no path to, fails.
func TestEveryLineOfTheTableIsAField(t *testing.T) {
	reached := map[string]protoreflect.FieldDescriptor{}
	messages := map[string]bool{}
	var walk func(desc protoreflect.MessageDescriptor)
	walk = func(desc protoreflect.MessageDescriptor) {
		if messages[messageName(desc)] {
			return
		}
		messages[messageName(desc)] = true
		for i := range desc.Fields().Len() {
			fd := desc.Fields().Get(i)
			reached[messageName(desc)+"."+fd.JSONName()] = fd
			if e, _ := lookup(supportTable(), desc, fd); e.status == Supported && messageOf(fd) != nil {
				walk(messageOf(fd))
			}
		}
	}
	for _, s := range schemas() {
		walk(s.desc)
	}
	seen := map[string]bool{}
	for _, r := range supportRules() {
		for _, f := range strings.Fields(r.fields) {
			key := r.message + "." + f
			fd, ok := reached[key]
			if f == "*" {
				ok = messages[r.message]
			}
			if !ok {
				t.Errorf("%s: no path of the API leads there", key)
				continue
			}
			if seen[key+r.values] {
				t.Errorf("%s stands twice", key)
			}
			seen[key+r.values] = true
			for _, v := range strings.Fields(r.values) {
				if fd.Enum() != nil && fd.Enum().Values().ByName(protoreflect.Name(v)) == nil {
					t.Errorf("%s has no value %s", key, v)
				}
			}
		}
	}
}
