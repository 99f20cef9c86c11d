package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// image is one image to be: its name without a registry, its layers from the bottom up, and how it runs.
type image struct {
	name       string // repository and tag
	layers     []layer
	entrypoint []string
	user       string // "uid:gid"; "" root
	env        []string
}

// archive writes the image into dir as docker save would, unless that file holds just this image, and returns the file.
func (i image) archive(dir string) (file string, written bool, err error) {
	type part struct {
		name string
		data []byte
	}
	var parts []part
	var diffs, names []string
	for _, l := range i.layers {
		var b bytes.Buffer
		if err := l.tar(&b); err != nil {
			return "", false, fmt.Errorf("make image %s: %w", i.name, err)
		}
		sum := digest(b.Bytes())
		diffs, names = append(diffs, "sha256:"+sum), append(names, sum+"/layer.tar")
		parts = append(parts, part{sum + "/layer.tar", b.Bytes()})
	}
	config, err := i.config(diffs)
	if err != nil {
		return "", false, err
	}
	id := digest(config)
	manifest, err := json.Marshal([]map[string]any{{"Config": id + ".json", "RepoTags": []string{i.name}, "Layers": names}})
	if err != nil {
		return "", false, err
	}
	file = filepath.Join(dir, filepath.Base(repository(i.name))+".tar")
	if old, err := os.ReadFile(file + ".id"); err == nil && string(old) == id {
		if _, err := os.Stat(file); err == nil {
			return file, false, nil
		}
	}
	parts = append([]part{{id + ".json", config}, {"manifest.json", manifest}}, parts...)
	err = replace(file, func(w io.Writer) error {
		out := tar.NewWriter(w)
		for _, p := range parts {
			if err := out.WriteHeader(&tar.Header{Name: p.name, Mode: 0o644, Size: int64(len(p.data))}); err != nil {
				return err
			}
			if _, err := out.Write(p.data); err != nil {
				return err
			}
		}
		return out.Close()
	})
	if err != nil {
		return "", false, fmt.Errorf("write image %s: %w", i.name, err)
	}
	return file, true, os.WriteFile(file+".id", []byte(id), 0o644)
}

// config is the image's configuration, as the OCI image specification has it.
func (i image) config(diffs []string) ([]byte, error) {
	env := append([]string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, i.env...)
	return json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": i.entrypoint, "User": i.user, "Env": env},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
}

// replace writes a file under a temporary name and gives it its own when it is whole.
func replace(file string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// repository is the name without its tag.
func repository(name string) string {
	for i := len(name) - 1; i >= 0 && name[i] != '/'; i-- {
		if name[i] == ':' {
			return name[:i]
		}
	}
	return name
}
