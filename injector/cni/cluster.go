package cni

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/injector/handover"
)

// serviceAccount is where a pod finds its own.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// tokenLife is how long the plugin's token is to be good; the cluster may say less.
const tokenLife = 24 * time.Hour

// inCluster is the API server of the pod that this process runs in.
func inCluster() (*api, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("reach the API server: this is no pod (KUBERNETES_SERVICE_HOST is not set)")
	}
	ca, err := os.ReadFile(filepath.Join(serviceAccount, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w", err)
	}
	return newAPI("https://"+net.JoinHostPort(host, port), ca, func() (string, error) {
		raw, err := os.ReadFile(filepath.Join(serviceAccount, "token")) // the kubelet renews it
		if err != nil {
			return "", fmt.Errorf("read the service account's token: %w", err)
		}
		return strings.TrimSpace(string(raw)), nil
	})
}

// tokenOf asks for a token of a service account (TokenRequest).
func (a *api) tokenOf(ctx context.Context, namespace, name string) (token string, until time.Time, err error) {
	ask := map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": map[string]any{"expirationSeconds": int(tokenLife.Seconds())},
	}
	var answer struct {
		Status struct {
			Token               string    `json:"token"`
			ExpirationTimestamp time.Time `json:"expirationTimestamp"`
		} `json:"status"`
	}
	path := "/api/v1/namespaces/" + url.PathEscape(namespace) + "/serviceaccounts/" + url.PathEscape(name) + "/token"
	if err := a.do(ctx, http.MethodPost, path, ask, &answer); err != nil {
		return "", time.Time{}, fmt.Errorf("get a token for the plugin: %w", err)
	}
	return answer.Status.Token, answer.Status.ExpirationTimestamp, nil
}

// gone tells whether a DaemonSet is being deleted, or is; so it is, too, when this service account has lost its rights, which go with it.
func (a *api) gone(ctx context.Context, namespace, name string) (bool, error) {
	var set struct {
		Metadata struct {
			DeletionTimestamp *string `json:"deletionTimestamp"`
		} `json:"metadata"`
	}
	err := a.do(ctx, http.MethodGet, "/apis/apps/v1/namespaces/"+url.PathEscape(namespace)+"/daemonsets/"+url.PathEscape(name), nil, &set)
	var r refusal
	if errors.As(err, &r) {
		switch r.code {
		case http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden:
			return true, nil
		}
	}
	return set.Metadata.DeletionTimestamp != nil, err
}

// repair deletes the node's pods that wait in vain: they started before the plugin was in place, and the rules of a pod are made when its
// network is. Who owns them makes others.
func (i *installer) repair(ctx context.Context) error {
	if !i.Repair {
		return nil
	}
	since, err := i.since()
	if err != nil || since.IsZero() {
		return err
	}
	var list struct {
		Items []pod `json:"items"`
	}
	query := url.Values{"fieldSelector": {"spec.nodeName=" + i.Node}, "labelSelector": {"security.istio.io/tlsMode"}, "resourceVersion": {"0"}}
	if err := i.api.do(ctx, http.MethodGet, "/api/v1/pods?"+query.Encode(), nil, &list); err != nil {
		return err
	}
	for _, p := range list.Items {
		if !missed(p, since) {
			continue
		}
		name := podName{p.Metadata.Namespace, p.Metadata.Name, p.Metadata.UID}
		path := "/api/v1/namespaces/" + url.PathEscape(name.namespace) + "/pods/" + url.PathEscape(name.name)
		err := i.api.do(ctx, http.MethodDelete, path, map[string]any{"preconditions": map[string]any{"uid": name.uid}}, nil)
		if err != nil {
			return fmt.Errorf("delete pod %s, which started before the plugin was in place: %w", name, err)
		}
		i.Log.Info("deleted a pod that started before the plugin was in place", "pod", name.String())
	}
	return nil
}

// since when the plugin is in place: the date of the configuration that names it. Zero: it is not.
func (i *installer) since() (time.Time, error) {
	name, yes, err := i.folder.has()
	if err != nil || !yes {
		return time.Time{}, err
	}
	info, err := os.Stat(filepath.Join(i.ConfDir, name))
	if err != nil {
		return time.Time{}, fmt.Errorf("look at the CNI configuration: %w", err)
	}
	return info.ModTime(), nil
}

// notice is how long a runtime may take until it goes by a configuration.
const notice = 5 * time.Second

// missed tells whether a pod that somebody makes anew has found out that its connections are not intercepted, and started before a moment.
func missed(p pod, since time.Time) bool {
	owned := false
	for _, o := range p.Metadata.OwnerReferences {
		owned = owned || o.Controller
	}
	ask, err := handover.Of(p.Metadata.Annotations)
	if err != nil || ask == nil || !owned || p.Metadata.DeletionTimestamp != nil || !p.Status.StartTime.Before(since.Add(notice)) {
		return false
	}
	for _, c := range p.Status.InitContainerStatuses {
		if !strings.HasPrefix(c.Name, handover.ValidationContainer) {
			continue
		}
		for _, s := range []containerState{c.State, c.LastState} {
			if s.Terminated != nil && s.Terminated.ExitCode != 0 {
				return true
			}
		}
	}
	return false
}
