package proxyconfig

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"
)

// source is a DataSource that holds its data.
type source struct {
	InlineBytes  string `json:"inline_bytes"` // base64
	InlineString string `json:"inline_string"`
}

func (s source) data() []byte {
	if s.InlineString != "" {
		return []byte(s.InlineString)
	}
	raw, err := base64.StdEncoding.DecodeString(s.InlineBytes)
	if err != nil {
		return nil
	}
	return raw
}

// SecretTable is `proxy-config secrets` at a time. Envoy leaves private keys out of its dump.
func (d *Dump) SecretTable(now time.Time) (Table, error) {
	t := Table{Header: []string{"RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"}}
	for _, s := range d.Secrets {
		var v struct {
			TLSCertificate *struct {
				CertificateChain source `json:"certificate_chain"`
			} `json:"tls_certificate"`
			ValidationContext *struct {
				TrustedCA source `json:"trusted_ca"`
			} `json:"validation_context"`
		}
		if s.Secret != nil {
			if err := decode(s.Secret, &v); err != nil {
				return t, fmt.Errorf("read secret %s: %w", s.Name, err)
			}
		}
		switch {
		case v.TLSCertificate != nil:
			t.Rows = append(t.Rows, certRow(s, "Cert Chain", v.TLSCertificate.CertificateChain.data(), now))
		case v.ValidationContext != nil:
			t.Rows = append(t.Rows, certRow(s, "CA", v.ValidationContext.TrustedCA.data(), now))
		default:
			t.Rows = append(t.Rows, []string{s.Name, "-", s.State, "-", "-", "-", "-"})
		}
	}
	return t, nil
}

// certRow tells of the first certificate in data.
func certRow(s Secret, kind string, data []byte, now time.Time) []string {
	row := []string{s.Name, kind, s.State, "false", "-", "-", "-"}
	block, _ := pem.Decode(data)
	if block == nil {
		return row
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return row
	}
	valid := now.After(c.NotBefore) && now.Before(c.NotAfter)
	return []string{s.Name, kind, s.State, fmt.Sprint(valid), fmt.Sprintf("%x", c.SerialNumber),
		c.NotAfter.UTC().Format(time.RFC3339), c.NotBefore.UTC().Format(time.RFC3339)}
}

// SecretJSON are the secrets as Envoy wrote them.
func (d *Dump) SecretJSON() []json.RawMessage {
	return rawOf(d.Secrets, func(s Secret) json.RawMessage { return s.Secret })
}
