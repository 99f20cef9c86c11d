package nds

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
)

// The bytes are those that protoc's code makes of Istio's message.
func TestTable(t *testing.T) {
	one := Table{"a.b": {Addresses: []string{"1.2.3.4"}, Registry: "Kubernetes", ShortName: "a", Namespace: "b"}}
	want := "0a220a03612e62121b0a07312e322e332e34120a4b756265726e657465731a01612201" + "62"
	if got := hex.EncodeToString(one.Encode()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	all := Table{
		"reviews.shop.svc.cluster.local": {Addresses: []string{"10.96.3.4", "fd00::1"}, Registry: Kubernetes, ShortName: "reviews", Namespace: "shop"},
		"*.example.com":                  {Addresses: []string{"240.240.1.2"}, Registry: "External"},
		"empty.example":                  {},
	}
	raw := all.Encode()
	back, err := Decode(raw)
	if err != nil || !reflect.DeepEqual(back, all) {
		t.Errorf("came back as %v (%v)", back, err)
	}
	if !bytes.Equal(raw, back.Encode()) {
		t.Error("the bytes are not the same the second time")
	}
	unknown := append([]byte{0x10, 0x07}, raw...) // a number in a field that is not known
	if again, err := Decode(unknown); err != nil || !reflect.DeepEqual(again, all) {
		t.Errorf("with an unknown field: %v (%v)", again, err)
	}
	for i := range raw {
		_, _ = Decode(raw[:i]) // no panic
	}
	if _, err := Decode(raw[:len(raw)-1]); err == nil {
		t.Error("half a table was taken")
	}
}
