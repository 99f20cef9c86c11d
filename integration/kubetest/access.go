package kubetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// config is the administrator's; an error before the API server has made its certificate.
func (c *Cluster) config() (*rest.Config, error) {
	pem, err := os.ReadFile(filepath.Join(c.dir, "certs", "apiserver.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the API server's certificate: %w", err)
	}
	return &rest.Config{
		Host: "https://" + c.host, BearerToken: c.token, TLSClientConfig: rest.TLSClientConfig{CAData: pem},
		QPS: -1, // a test writes as fast as it can
	}, nil
}

// Config is how the administrator (of system:masters) reaches the API server.
func (c *Cluster) Config(t testing.TB) *rest.Config {
	t.Helper()
	config, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// ConfigAs is how a user of groups does. "system:serviceaccount:NAMESPACE:NAME" is a service account, whether it exists or not.
func (c *Cluster) ConfigAs(t testing.TB, user string, groups ...string) *rest.Config {
	t.Helper()
	config := c.Config(t)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return config
}

// Client is the administrator's.
func (c *Cluster) Client(t testing.TB) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Kubeconfig is the path of the administrator's kubeconfig; its context is "test".
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "admin.kubeconfig") }

func (c *Cluster) writeKubeconfig() error {
	config, err := c.config()
	if err != nil {
		return err
	}
	return writeKubeconfig(c.Kubeconfig(), config)
}

func writeKubeconfig(file string, config *rest.Config) error {
	k := clientcmdapi.NewConfig()
	k.Clusters["test"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	k.AuthInfos["test"] = &clientcmdapi.AuthInfo{
		Token: config.BearerToken, Impersonate: config.Impersonate.UserName, ImpersonateGroups: config.Impersonate.Groups,
	}
	k.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	k.CurrentContext = "test"
	if err := clientcmd.WriteToFile(*k, file); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// WriteKubeconfig writes a kubeconfig of Config or ConfigAs into a folder of the test's, and returns its path.
func (c *Cluster) WriteKubeconfig(t testing.TB, config *rest.Config) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := writeKubeconfig(file, config); err != nil {
		t.Fatal(err)
	}
	return file
}

// Namespace makes a namespace with a name of its own that begins with prefix. It stays until the cluster ends.
func (c *Cluster) Namespace(t testing.TB, prefix string, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%08x", prefix, rand.Uint32()), Labels: labels}}
	if _, err := c.Client(t).CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// Token is a token of a service account, which is made if it is not there, for audiences (none: the API server's own), good for an hour.
func (c *Cluster) Token(t testing.TB, namespace, serviceAccount string, audiences ...string) string {
	t.Helper()
	accounts := c.Client(t).CoreV1().ServiceAccounts(namespace)
	if _, err := accounts.Get(t.Context(), serviceAccount, metav1.GetOptions{}); err != nil {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: serviceAccount}}
		if _, err := accounts.Create(t.Context(), sa, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	q := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	answer, err := accounts.CreateToken(t.Context(), serviceAccount, q, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

// Kubectl runs kubectl as the administrator with input on its standard input, and returns what it prints; a failure fails the test.
func (c *Cluster) Kubectl(t testing.TB, input string, args ...string) string {
	t.Helper()
	out, errs, err := c.TryKubectl(t, input, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

// TryKubectl is Kubectl for commands that may fail. errs is what kubectl prints on its standard error: warnings, too.
func (c *Cluster) TryKubectl(t testing.TB, input string, args ...string) (out, errs string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "kubectl"), append([]string{"--kubeconfig", c.Kubeconfig()}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+c.dir) // its cache of what the API server has
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}
