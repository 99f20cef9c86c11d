package conformance

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed testdata/*.yaml
var corpus embed.FS

// Load reads the corpus: every case, in the order of files and within them.
func Load() ([]*Case, error) {
	names, err := fs.Glob(corpus, "testdata/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("find the corpus: %w", err)
	}
	var all []*Case
	for _, name := range names {
		raw, err := corpus.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the corpus: %w", err)
		}
		cases, err := Parse(strings.TrimSuffix(path.Base(name), ".yaml"), raw)
		if err != nil {
			return nil, err
		}
		all = append(all, cases...)
	}
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.Title] {
			return nil, fmt.Errorf("two cases are called %q", c.Title)
		}
		seen[c.Title] = true
	}
	return all, nil
}

// Parse reads the cases of one file. Unknown fields are errors.
func Parse(area string, raw []byte) ([]*Case, error) {
	var cases []*Case
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&cases); err != nil {
		return nil, fmt.Errorf("parse %s: %w", area, err)
	}
	features := features(raw)
	for _, c := range cases {
		c.Area, c.Feature = area, features[c.Title]
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("%s: case %q: %w", area, c.Title, err)
		}
	}
	return cases, nil
}

// features finds the heading of each case, by its title.
func features(raw []byte) map[string]string {
	out, heading := map[string]string{}, ""
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if h, ok := strings.CutPrefix(line, "# --- "); ok {
			heading, _, _ = strings.Cut(h, ":")
		}
		var title []struct{ Case string }
		if strings.HasPrefix(line, "- case:") && yaml.Unmarshal([]byte(line), &title) == nil {
			out[title[0].Case] = heading
		}
	}
	return out
}

func (c *Case) check() error {
	if c.Title == "" || len(c.Steps) == 0 {
		return fmt.Errorf("a case needs a title and steps")
	}
	for _, n := range c.Needs {
		if n != NeedClock && n != NeedSeed {
			return fmt.Errorf("need %q is unknown", n)
		}
	}
	return checkSteps(c.Steps)
}

func checkSteps(steps []Step) error {
	for i := range steps {
		s := &steps[i]
		switch {
		case s.While != "" && s.While != WhileDelayed && s.While != WhileUpstream:
			return fmt.Errorf("steps[%d]: while %q is unknown", i, s.While)
		case (s.While == "") != (len(s.Meanwhile) == 0):
			return fmt.Errorf("steps[%d]: while and meanwhile belong together", i)
		case s.Times < 2 && (len(s.Expect.Shares) > 0 || s.Expect.Same):
			return fmt.Errorf("steps[%d]: shares and same are about a repeated step", i)
		case s.Times > 1 && s.While != "":
			return fmt.Errorf("steps[%d]: a repeated step cannot wait for others", i)
		}
		if err := checkSteps(s.Meanwhile); err != nil {
			return fmt.Errorf("steps[%d].meanwhile: %w", i, err)
		}
	}
	return nil
}
