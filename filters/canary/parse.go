package canary

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// ParseConfig reads and validates a configuration. Unknown fields are errors.
func ParseConfig(raw []byte) (Config, error) {
	var c Config
	if err := filter.ParseJSON(raw, &c); err != nil {
		return Config{}, fmt.Errorf("canary: %w", err)
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate tells what is wrong with c: which field, and what to write.
func (c *Config) Validate() error {
	if _, err := build(*c); err != nil {
		return fmt.Errorf("canary: %w", err)
	}
	return nil
}

// checkText accepts what can stand in a header value and a metric label.
func checkText(field, s string) error {
	if s == "" {
		return fmt.Errorf("%s: is empty; write one", field)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%s: %q holds a control character; write it without", field, s)
	}
	return nil
}

func checkResponseHeader(name string) error {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?={}", c) >= 0 {
			return fmt.Errorf("responseHeader: %q holds %q; write a header name such as x-canary", name, string(c))
		}
	}
	return nil
}
