// Command gocache is the build cache of the Go in the stand-in for the golang image: what this machine has compiled before, containers need
// not compile again. It speaks Go's GOCACHEPROG protocol (go doc cmd/go/internal/cacheprog) and asks the server that its argument
// names.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// request and response are the protocol's.
type request struct {
	ID                 int64
	Command            string
	ActionID, OutputID []byte
	BodySize           int64
}

type response struct {
	ID            int64
	Err           string   `json:",omitempty"`
	KnownCommands []string `json:",omitempty"`
	Miss          bool     `json:",omitempty"`
	OutputID      []byte   `json:",omitempty"`
	Size          int64    `json:",omitempty"`
	Time          *time.Time
	DiskPath      string `json:",omitempty"`
}

// cache keeps on disk what the go command is told the place of, for as long as that command runs.
type cache struct {
	url, dir string
	http     http.Client
}

func main() {
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gocache:", err)
		os.Exit(1)
	}
}

func run(url string, in io.Reader, out io.Writer) error {
	dir, err := os.MkdirTemp("", "gocache-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := &cache{url: url, dir: dir, http: http.Client{Transport: &http.Transport{}}} // no proxy, whatever the environment says
	answers := json.NewEncoder(out)
	if err := answers.Encode(response{KnownCommands: []string{"get", "put", "close"}}); err != nil {
		return err
	}
	lines := bufio.NewReader(in)
	for {
		var r request
		if err := next(lines, &r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var body []byte
		if r.Command == "put" && r.BodySize > 0 {
			if err := next(lines, &body); err != nil {
				return err
			}
		}
		a, err := c.answer(r, body)
		a.ID = r.ID
		if err != nil {
			a.Err = err.Error()
		}
		if err := answers.Encode(a); err != nil || r.Command == "close" {
			return err
		}
	}
}

// next reads a line of JSON; empty ones are passed over.
func next(lines *bufio.Reader, into any) error {
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			return json.Unmarshal(line, into)
		}
		if err != nil {
			return err
		}
	}
}

func (c *cache) answer(r request, body []byte) (response, error) {
	switch r.Command {
	case "get":
		return c.get(r.ActionID)
	case "put":
		return c.put(r.ActionID, r.OutputID, body)
	}
	return response{}, nil
}

func (c *cache) get(action []byte) (response, error) {
	res, err := c.http.Get(fmt.Sprintf("%s/%x", c.url, action))
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return response{Miss: true}, nil
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return response{}, err
	}
	output, err := base64.StdEncoding.DecodeString(res.Header.Get("Output"))
	if err != nil {
		return response{}, err
	}
	nanoseconds, _ := strconv.ParseInt(res.Header.Get("Time"), 10, 64)
	return c.keep(output, body, time.Unix(0, nanoseconds))
}

func (c *cache) put(action, output, body []byte) (response, error) {
	req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("%s/%x", c.url, action), bytes.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Output", base64.StdEncoding.EncodeToString(output))
	res, err := c.http.Do(req)
	if err != nil {
		return response{}, err
	}
	res.Body.Close()
	return c.keep(output, body, time.Now())
}

func (c *cache) keep(output, body []byte, at time.Time) (response, error) {
	file := filepath.Join(c.dir, fmt.Sprintf("%x", output))
	if err := os.WriteFile(file, body, 0o644); err != nil {
		return response{}, err
	}
	return response{OutputID: output, Size: int64(len(body)), Time: &at, DiskPath: file}, nil
}
