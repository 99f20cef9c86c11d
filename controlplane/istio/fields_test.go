package istio

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// TestEveryKindIsInTheTable: every kind that Istio's API defines is known, and those that are read have their fields in the table.
func TestEveryKindIsInTheTable(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api").Output()
	if err != nil {
		t.Fatalf("find istio.io/api: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "kubernetes", "customresourcedefinitions.gen.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defined := regexp.MustCompile(`(?m)^    kind: (\w+)$`).FindAllStringSubmatch(string(text), -1)
	if len(defined) < 14 {
		t.Fatalf("only %d kinds are defined", len(defined))
	}
	inTable := map[string]bool{}
	for _, s := range schemas() {
		inTable[s.name] = true
	}
	uses := map[string]use{}
	for _, k := range allKinds() {
		if strings.HasSuffix(k.Group, ".istio.io") {
			uses[k.Name] = k.use
		}
	}
	for _, m := range defined {
		switch use, known := uses[m[1]]; {
		case !known:
			t.Errorf("%s: Decode does not know the kind", m[1])
		case use != refused && !inTable[m[1]]:
			t.Errorf("%s: it is read, and its fields are not in the support table", m[1])
		}
	}
	if !inTable["MeshConfig"] {
		t.Error("MeshConfig is not in the support table")
	}
}

// TestMessagesHaveNamesOfTheirOwn: the table knows a message by its short name, which must not stand for two.
func TestMessagesHaveNamesOfTheirOwn(t *testing.T) {
	full := map[string]protoreflect.MessageDescriptor{}
	same := func(a, b protoreflect.MessageDescriptor) bool { // one message that two packages have
		return a.Fields().Len() == b.Fields().Len() && (a.Fields().Len() == 0 || a.Fields().Get(0).JSONName() == b.Fields().Get(0).JSONName())
	}
	var walk func(desc protoreflect.MessageDescriptor)
	walk = func(desc protoreflect.MessageDescriptor) {
		name := messageName(desc)
		if other, ok := full[name]; ok {
			if other.FullName() != desc.FullName() && !same(other, desc) {
				t.Errorf("%s stands for %s and %s", name, other.FullName(), desc.FullName())
			}
			return
		}
		full[name] = desc
		for i := range desc.Fields().Len() {
			fd := desc.Fields().Get(i)
			if e, _ := lookup(supportTable(), desc, fd); e.status == Supported && messageOf(fd) != nil {
				walk(messageOf(fd))
			}
		}
	}
	for _, s := range schemas() {
		walk(s.desc)
	}
	if len(full) < 80 {
		t.Errorf("only %d messages are in the table", len(full))
	}
}
