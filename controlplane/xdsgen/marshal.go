package xdsgen

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// wire marshals deterministically: equal messages give equal bytes in every process of one build.
var wire = proto.MarshalOptions{Deterministic: true}

// toAny packs m. Errors are impossible for the messages built here (valid UTF-8 apart), hence they are returned once,
// by Build, through resource.
func toAny(m proto.Message) (*anypb.Any, error) {
	b, err := wire.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshal %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: b}, nil
}

// resource makes the Resource of one message.
func resource(name string, m proto.Message) (*Resource, error) {
	body, err := toAny(m)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", name, err)
	}
	sum := sha256.Sum256(body.Value)
	r := &Resource{Type: body.TypeUrl, Name: name, Version: hex.EncodeToString(sum[:8]), Body: body}
	r.frame = frame(r)
	// The body lives on inside the frame: what is kept of thousands of resources is kept once.
	at := bytes.LastIndex(r.frame[:len(r.frame)-len(name)], body.Value)
	body.Value = r.frame[at : at+len(body.Value) : at+len(body.Value)]
	return r, nil
}

// Frame is the resource as it stands in a DeltaDiscoveryResponse, tag and length included, so that answers to many proxies are
// put together without marshalling. Not to be changed.
func (r *Resource) Frame() []byte {
	if r.frame == nil {
		return frame(r)
	}
	return r.frame
}

// Field numbers of envoy.service.discovery.v3.
const (
	fieldResources       = 2 // of DeltaDiscoveryResponse
	fieldResourceVersion = 1 // of Resource
	fieldResourceBody    = 2
	fieldResourceName    = 3
)

func frame(r *Resource) []byte {
	body, err := wire.Marshal(r.Body)
	if err != nil { // an Any of valid strings cannot fail
		panic(err)
	}
	size := protowire.SizeTag(fieldResourceVersion) + protowire.SizeBytes(len(r.Version)) +
		protowire.SizeTag(fieldResourceBody) + protowire.SizeBytes(len(body)) + protowire.SizeTag(fieldResourceName) + protowire.SizeBytes(len(r.Name))
	b := make([]byte, 0, protowire.SizeTag(fieldResources)+protowire.SizeBytes(size))
	b = protowire.AppendTag(b, fieldResources, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = protowire.AppendTag(b, fieldResourceVersion, protowire.BytesType)
	b = protowire.AppendString(b, r.Version)
	b = protowire.AppendTag(b, fieldResourceBody, protowire.BytesType)
	b = protowire.AppendBytes(b, body)
	b = protowire.AppendTag(b, fieldResourceName, protowire.BytesType)
	return protowire.AppendString(b, r.Name)
}

// digest is the memo's key: a hash of everything that a part is made of.
type digest [16]byte

// digestOf hashes kind and the JSON of in. JSON writes maps sorted and follows pointers, so that equal values have
// equal digests wherever they live.
func digestOf(kind string, in any) (digest, error) {
	h := sha256.New()
	h.Write([]byte(kind))
	h.Write([]byte{0})
	if err := json.NewEncoder(h).Encode(in); err != nil {
		return digest{}, fmt.Errorf("hash %s: %w", kind, err)
	}
	var d digest
	copy(d[:], h.Sum(nil))
	return d, nil
}

// mustAny packs a message that holds no string of a user's, which cannot fail.
func mustAny(m proto.Message) *anypb.Any {
	a, err := toAny(m)
	if err != nil {
		panic(err)
	}
	return a
}
