package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/kube"
)

// Cluster is the Kubernetes cluster that a control plane is for.
type Cluster struct {
	// Config is how to reach its API server; not nil.
	Config *rest.Config
	// Namespace is the control plane's own; "" istio-system. Revision is its name among several; "" the one without.
	Namespace, Revision string
	// Webhook, if not nil, is the validating webhook.
	Webhook *Webhook
}

func (c *Cluster) namespace() string { return cmp.Or(c.Namespace, "istio-system") }

// Bounds of what a control plane asks now and then, for a Config that says none: when it starts, a thousand agents may come at once, each
// with a token to ask about.
const (
	qps   = 200
	burst = 1000
)

// config is for what a control plane asks now and then; what it watches has one of its own.
func (c *Cluster) config() *rest.Config {
	config := rest.CopyConfig(c.Config)
	if config.QPS == 0 {
		config.QPS, config.Burst = qps, burst
	}
	return config
}

func (c *Cluster) client() (*kubernetes.Clientset, error) {
	client, err := kubernetes.NewForConfig(c.config())
	if err != nil {
		return nil, fmt.Errorf("make the client of the API server: %w", err)
	}
	return client, nil
}

// names are those by which proxies in the cluster may know the control plane.
func (c *Cluster) names() []string {
	var out []string
	for _, service := range []string{"mizzen-controlplane", "istiod"} {
		if r := c.Revision; r != "" && r != "default" {
			service += "-" + r
		}
		service += "." + c.namespace()
		out = append(out, service, service+".svc", service+".svc.cluster.local")
	}
	return out
}

// trustDomain is MeshConfig's; "" if it says none. A MeshConfig that cannot be read at all is an error: identities must not change
// because of it.
func (c *Cluster) trustDomain(ctx context.Context, client kubernetes.Interface) (string, error) {
	name := kube.MeshConfigMap(c.Revision)
	m, err := client.CoreV1().ConfigMaps(c.namespace()).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read MeshConfig: %w", err)
	}
	set, diags := istio.LiveMeshConfig(istio.Ref{Kind: "ConfigMap", Namespace: c.namespace(), Name: name}, m.Data["mesh"])
	if set.Mesh == nil {
		return "", fmt.Errorf("read MeshConfig: %v", diags.Errors())
	}
	return set.Mesh.Spec.GetTrustDomain(), nil
}

// reviewTimeout bounds one question about a token.
const reviewTimeout = 10 * time.Second

// review asks the API server whose token it is.
func review(client kubernetes.Interface) func(context.Context, string) (string, error) {
	return func(ctx context.Context, token string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
		defer cancel()
		answer, err := client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{ca.Audience}},
		}, metav1.CreateOptions{})
		switch {
		case err != nil:
			return "", fmt.Errorf("ask the API server: %w", err)
		case answer.Status.Error != "":
			return "", errors.New(answer.Status.Error)
		case !answer.Status.Authenticated:
			return "", errors.New("the API server does not know it")
		case !slices.Contains(answer.Status.Audiences, ca.Audience): // of an authenticator that looks at no audience
			return "", fmt.Errorf("it is not for %s", ca.Audience)
		}
		return answer.Status.User.Username, nil
	}
}
