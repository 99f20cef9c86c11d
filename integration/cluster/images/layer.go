package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// layer is a file system under construction: absolute path -> entry. Every file is root's and of no date, so that the same
// content is the same layer.
type layer map[string]entry

type entry struct {
	source string      // a file of this machine; "" if content or link tells
	text   string      // the content
	link   string      // target of a symbolic link
	mode   fs.FileMode // permissions; fs.ModeDir for a directory
}

// file adds the machine's file source at name.
func (l layer) file(name, source string, mode fs.FileMode) {
	l[name] = entry{source: source, mode: mode}
}

// write adds a file with the content.
func (l layer) write(name, text string) { l[name] = entry{text: text, mode: 0o644} }

// dir adds an empty directory.
func (l layer) dir(name string, mode fs.FileMode) { l[name] = entry{mode: fs.ModeDir | mode} }

// libraries of a program, as the dynamic linker finds them.
var linked = regexp.MustCompile(`(?m)^\s+(?:\S+ => )?(/\S+) \(0x`)

// program adds the machine's program (a path, or a name to be found on PATH) where it stands there, with every library that it
// is linked to; a symbolic link is followed and kept.
func (l layer) program(name string) error {
	found, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	target, err := filepath.EvalSymlinks(found)
	if err != nil {
		return err
	}
	l.file(target, target, 0o755)
	if target != found {
		l[found] = entry{link: target}
	}
	return l.libraries(target)
}

// libraries adds what the program or library is linked to; nothing for a static one.
func (l layer) libraries(file string) error {
	out, err := exec.Command("ldd", file).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "not a dynamic executable") {
		return fmt.Errorf("ldd %s: %w: %s", file, err, out)
	}
	for _, m := range linked.FindAllStringSubmatch(string(out), -1) {
		real, err := filepath.EvalSymlinks(m[1])
		if err != nil {
			return err
		}
		l.file(path.Clean(m[1]), real, 0o755) // a copy by the name that the linker looks for
	}
	return nil
}

// tar writes the layer as Docker's and OCI's layers are.
func (l layer) tar(w io.Writer) error {
	out := tar.NewWriter(w)
	all := layer{}
	for name, e := range l {
		all[name] = e
		for up := path.Dir(name); up != "/"; up = path.Dir(up) {
			if _, ok := l[up]; !ok {
				all.dir(up, 0o755)
			}
		}
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := all[name].tar(out, strings.TrimPrefix(name, "/")); err != nil {
			return fmt.Errorf("add %s: %w", name, err)
		}
	}
	return out.Close()
}

func (e entry) tar(out *tar.Writer, name string) error {
	h := &tar.Header{Name: name, Mode: int64(e.mode.Perm()), Format: tar.FormatGNU}
	switch {
	case e.mode.IsDir():
		if e.mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return out.WriteHeader(h)
	case e.link != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		return out.WriteHeader(h)
	}
	h.Typeflag = tar.TypeReg
	var content io.Reader = strings.NewReader(e.text)
	h.Size = int64(len(e.text))
	if e.source != "" {
		b, err := os.ReadFile(e.source)
		if err != nil {
			return err
		}
		content, h.Size = bytes.NewReader(b), int64(len(b))
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	return err
}
