package kubetest

import (
	"os"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

var shared Package

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// TestOutage: what was written is there after the API server was killed and started again, for the clients of before.
func TestOutage(t *testing.T) {
	c := shared.Cluster(t)
	client := c.Client(t)
	ns := c.Namespace(t, "outage", map[string]string{"a": "b"})
	c.KillAPI()
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{}); err == nil {
		t.Error("the API server answers after it was killed")
	}
	if err := c.StartAPI(); err != nil {
		t.Fatal(err)
	}
	got, err := client.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
	if err != nil || got.Labels["a"] != "b" {
		t.Errorf("after the outage: %v, %v", got, err)
	}
}

// TestUsers: the administrator may do everything, others what RBAC lets them, and a service account's token names it.
func TestUsers(t *testing.T) {
	c := shared.Cluster(t)
	ns := c.Namespace(t, "users", nil)
	alice, err := kubernetes.NewForConfig(c.ConfigAs(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a user without rights lists secrets: %v", err)
	}
	token := c.Token(t, ns, "bob", "istio-ca")
	review, err := c.Client(t).AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{"istio-ca"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := review.Status.User.Username, "system:serviceaccount:"+ns+":bob"; got != want || !review.Status.Authenticated {
		t.Errorf("the token is of %q (%+v), want %q", got, review.Status, want)
	}
}

// TestKubectl: kubectl works as the administrator, and with a kubeconfig of another user.
func TestKubectl(t *testing.T) {
	c := shared.Cluster(t)
	ns := c.Namespace(t, "kubectl", nil)
	c.Kubectl(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", "apply", "-n", ns, "-f", "-")
	if out := c.Kubectl(t, "", "get", "configmaps", "-n", ns); !strings.Contains(out, "a      0") {
		t.Errorf("kubectl get configmaps prints %q", out)
	}
	carol := c.WriteKubeconfig(t, c.ConfigAs(t, "carol"))
	if _, errs, err := c.TryKubectl(t, "", "--kubeconfig", carol, "get", "configmaps", "-n", ns); err == nil || !strings.Contains(errs, `User "carol" cannot list`) {
		t.Errorf("carol may list: %v, %s", err, errs)
	}
}
