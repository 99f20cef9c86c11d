package cni

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// api asks an API server the few things that the plugin and its installer want to know, without the weight of client-go.
type api struct {
	server string                 // https://host:port
	ca     []byte                 // PEM
	token  func() (string, error) // asked for each request
	http   *http.Client
}

// refusal is an answer other than 2xx.
type refusal struct {
	code    int
	message string
}

func (r refusal) Error() string {
	return fmt.Sprintf("the API server answers %d: %s", r.code, r.message)
}

func newAPI(server string, ca []byte, token func() (string, error)) (*api, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("reach the API server: its certificate authority is no PEM")
	}
	return &api{server, ca, token, &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 10 * time.Second},
	}}, nil
}

// do sends one request; in and out are JSON, nil for none.
func (a *api) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.server+path, body)
	if err != nil {
		return fmt.Errorf("ask the API server: %w", err)
	}
	token, err := a.token()
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := a.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the API server: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("ask the API server: %w", err)
	}
	if res.StatusCode/100 != 2 {
		var status struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(raw, &status)
		return fmt.Errorf("%s %s: %w", method, path, refusal{res.StatusCode, status.Message})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read the API server's answer: %w", err)
	}
	return nil
}

// pod is what of a Pod is looked at.
type pod struct {
	Metadata struct {
		Name              string            `json:"name"`
		Namespace         string            `json:"namespace"`
		UID               string            `json:"uid"`
		Annotations       map[string]string `json:"annotations"`
		DeletionTimestamp *string           `json:"deletionTimestamp"`
		OwnerReferences   []struct {
			Controller bool `json:"controller"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Status struct {
		StartTime             time.Time         `json:"startTime"`
		InitContainerStatuses []containerStatus `json:"initContainerStatuses"`
	} `json:"status"`
}

type containerStatus struct {
	Name      string         `json:"name"`
	State     containerState `json:"state"`
	LastState containerState `json:"lastState"`
}

type containerState struct {
	Terminated *struct {
		ExitCode int `json:"exitCode"`
	} `json:"terminated"`
}

// pod reads one. It must be the one that the runtime means, not another that has come under its name.
func (a *api) pod(ctx context.Context, name podName) (pod, error) {
	var out pod
	err := a.do(ctx, http.MethodGet, "/api/v1/namespaces/"+url.PathEscape(name.namespace)+"/pods/"+url.PathEscape(name.name), nil, &out)
	if err == nil && name.uid != "" && out.Metadata.UID != name.uid {
		err = fmt.Errorf("pod %s is another by now", name)
	}
	return out, err
}

// kubeconfig is a file in kubectl's format, as far as it is written here: one cluster, one user, by token. JSON is YAML.
type kubeconfig struct {
	APIVersion     string              `json:"apiVersion"`
	Kind           string              `json:"kind"`
	CurrentContext string              `json:"current-context"`
	Clusters       []kubeconfigCluster `json:"clusters"`
	Users          []kubeconfigUser    `json:"users"`
	Contexts       []kubeconfigContext `json:"contexts"`
}

type kubeconfigCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

type kubeconfigUser struct {
	Name string `json:"name"`
	User struct {
		Token string `json:"token"`
	} `json:"user"`
}

type kubeconfigContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

// Kubeconfig is a file in kubectl's format, by which the plugin asks the API server. ca is PEM.
func Kubeconfig(server string, ca []byte, token string) ([]byte, error) {
	k := kubeconfig{
		APIVersion: "v1", Kind: "Config", CurrentContext: Name,
		Clusters: []kubeconfigCluster{{Name: Name}}, Users: []kubeconfigUser{{Name: Name}}, Contexts: []kubeconfigContext{{Name: Name}},
	}
	k.Clusters[0].Cluster.Server, k.Clusters[0].Cluster.CA = server, ca
	k.Users[0].User.Token = token
	k.Contexts[0].Context.Cluster, k.Contexts[0].Context.User = Name, Name
	raw, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig: %w", err)
	}
	return raw, nil
}

// fromKubeconfig reads what the installer wrote.
func fromKubeconfig(file string) (*api, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	var k kubeconfig
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", file, err)
	}
	if len(k.Clusters) != 1 || len(k.Users) != 1 {
		return nil, fmt.Errorf("read kubeconfig %s: want one cluster and one user", file)
	}
	c := k.Clusters[0].Cluster
	return newAPI(c.Server, c.CA, func() (string, error) { return k.Users[0].User.Token, nil })
}
