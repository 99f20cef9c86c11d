package xdsgen

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

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
	return &Resource{Type: body.TypeUrl, Name: name, Version: hex.EncodeToString(sum[:8]), Body: body}, nil
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
