package early

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// TestPods: pods with image "auto" go, for as long as API servers may not have heard; others, and later ones, stay.
func TestPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		add := func(namespace, name, image string) {
			t.Helper()
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"sidecar.istio.io/inject": "true"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "istio-proxy", Image: image}}},
			}
			if _, err := client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		left := func() string {
			t.Helper()
			synctest.Wait()
			list, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range list.Items {
				names = append(names, p.Name)
			}
			slices.Sort(names)
			return strings.Join(names, " ")
		}
		ctx, cancel := context.WithCancel(t.Context())
		told, ended := make(chan struct{}, 1), make(chan error, 1)
		go func() {
			ended <- Pods{Client: client, Namespace: "istio-system", Log: slog.New(slog.DiscardHandler)}.Run(ctx, told)
		}()
		add("istio-system", "early", "auto")
		add("istio-system", "injected", "mizzen/proxy:test")
		add("edge", "elsewhere", "auto")
		if got := left(); got != "early elsewhere injected" {
			t.Errorf("before API servers are told: %s", got)
		}
		told <- struct{}{}
		if got := left(); got != "elsewhere injected" {
			t.Errorf("once they are told: %s", got)
		}
		add("istio-system", "unheard", "auto")
		time.Sleep(3 * time.Second)
		if got := left(); got != "elsewhere injected" {
			t.Errorf("a moment later: %s", got)
		}
		time.Sleep(time.Minute)
		add("istio-system", "late", "auto")
		time.Sleep(time.Hour)
		if got := left(); got != "elsewhere injected late" {
			t.Errorf("much later: %s", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
