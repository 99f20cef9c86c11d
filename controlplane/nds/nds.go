// Package nds is the table of names that a proxy's agent answers DNS questions from: Istio's istio.networking.nds.v1.NameTable, as
// it travels over xDS to those that ask for it.
package nds

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// TypeURL of a table, in xDS.
const TypeURL = "type.googleapis.com/istio.networking.nds.v1.NameTable"

// ResourceName is that of the one table that there is.
const ResourceName = "names"

// Kubernetes is the registry of Services. Others are those of ServiceEntries.
const Kubernetes = "Kubernetes"

// Table has an entry for each host name, in lower case and without a dot at the end; "*.example.com" stands for what is below.
type Table map[string]Entry

// Entry is what is known of a name.
type Entry struct {
	Addresses []string // IP addresses
	Registry  string
	// ShortName and Namespace are a Service's: it is also found as ShortName.Namespace, and within the namespace as ShortName.
	ShortName, Namespace string
}

// Field numbers of the messages.
const (
	fieldTable     = 1 // of NameTable: a map
	fieldKey       = 1
	fieldValue     = 2
	fieldIPs       = 1 // of NameInfo
	fieldRegistry  = 2
	fieldShortName = 3
	fieldNamespace = 4
)

// Encode gives the message's bytes, the same for the same table.
func (t Table) Encode() []byte {
	var out []byte
	for _, host := range slices.Sorted(maps.Keys(t)) {
		entry := appendText(nil, fieldKey, host)
		entry = protowire.AppendTag(entry, fieldValue, protowire.BytesType)
		entry = protowire.AppendBytes(entry, t[host].encode())
		out = protowire.AppendTag(out, fieldTable, protowire.BytesType)
		out = protowire.AppendBytes(out, entry)
	}
	return out
}

func (e Entry) encode() []byte {
	var out []byte
	for _, ip := range e.Addresses {
		out = appendText(out, fieldIPs, ip)
	}
	for _, f := range []struct {
		number protowire.Number
		text   string
	}{{fieldRegistry, e.Registry}, {fieldShortName, e.ShortName}, {fieldNamespace, e.Namespace}} {
		if f.text != "" {
			out = appendText(out, f.number, f.text)
		}
	}
	return out
}

func appendText(out []byte, number protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(out, number, protowire.BytesType), text)
}

// Decode reads a message. Fields that are not known are passed over.
func Decode(raw []byte) (Table, error) {
	t := Table{}
	err := fields(raw, func(number protowire.Number, entry []byte) error {
		if number != fieldTable {
			return nil
		}
		host, e := "", Entry{}
		err := fields(entry, func(number protowire.Number, b []byte) error {
			switch number {
			case fieldKey:
				host = string(b)
			case fieldValue:
				return e.decode(b)
			}
			return nil
		})
		t[host] = e
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read name table: %w", err)
	}
	return t, nil
}

func (e *Entry) decode(raw []byte) error {
	return fields(raw, func(number protowire.Number, b []byte) error {
		switch number {
		case fieldIPs:
			e.Addresses = append(e.Addresses, string(b))
		case fieldRegistry:
			e.Registry = string(b)
		case fieldShortName:
			e.ShortName = string(b)
		case fieldNamespace:
			e.Namespace = string(b)
		}
		return nil
	})
}

// fields visits the fields of a message that are strings, bytes or messages.
func fields(raw []byte, visit func(protowire.Number, []byte) error) error {
	for len(raw) > 0 {
		number, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return protowire.ParseError(n)
		}
		raw = raw[n:]
		if n = protowire.ConsumeFieldValue(number, kind, raw); n < 0 {
			return protowire.ParseError(n)
		}
		if kind == protowire.BytesType {
			b, _ := protowire.ConsumeBytes(raw)
			if err := visit(number, b); err != nil {
				return err
			}
		}
		raw = raw[n:]
	}
	return nil
}
