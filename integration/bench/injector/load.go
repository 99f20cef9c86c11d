package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// typical is a pod as the API server shows it: two containers, probes, a token mounted.
const typical = `
apiVersion: v1
kind: Pod
metadata:
  generateName: reviews-v1-7f99cc4496-
  labels: {app: reviews, version: v1, pod-template-hash: 7f99cc4496}
  annotations: {prometheus.io/port: "9080", prometheus.io/scrape: "true", traffic.sidecar.istio.io/excludeOutboundPorts: "5432"}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: reviews-v1-7f99cc4496, uid: 6f1c, controller: true, blockOwnerDeletion: true}]
spec:
  serviceAccountName: bookinfo-reviews
  restartPolicy: Always
  terminationGracePeriodSeconds: 30
  dnsPolicy: ClusterFirst
  containers:
  - name: reviews
    image: example/reviews:1
    env: [{name: LOG_DIR, value: /tmp/logs}, {name: MODE, value: fast}]
    ports: [{name: http, containerPort: 9080, protocol: TCP}]
    resources: {requests: {cpu: 100m, memory: 128Mi}}
    readinessProbe: {httpGet: {path: /health, port: http, scheme: HTTP}, periodSeconds: 5, timeoutSeconds: 1, successThreshold: 1, failureThreshold: 3}
    livenessProbe: {httpGet: {path: /health, port: http, scheme: HTTP}, periodSeconds: 10, timeoutSeconds: 1, successThreshold: 1, failureThreshold: 3}
    volumeMounts: [{name: tmp, mountPath: /tmp}, {name: kube-api-access-x, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}]
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    imagePullPolicy: IfNotPresent
  - name: logs
    image: example/logs:1
    resources: {}
    volumeMounts: [{name: tmp, mountPath: /tmp}]
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    imagePullPolicy: IfNotPresent
  volumes:
  - {name: tmp, emptyDir: {}}
  - name: kube-api-access-x
    projected:
      defaultMode: 420
      sources: [{serviceAccountToken: {expirationSeconds: 3607, path: token}}, {configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}}]
`

// review is the question about it.
func review() ([]byte, error) {
	pod, err := yaml.YAMLToJSON([]byte(typical))
	if err != nil {
		return nil, err
	}
	return json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "0b4c", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: "default", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: pod}, Options: runtime.RawExtension{Object: &corev1.Pod{}},
		},
	})
}

// result of a run.
type result struct {
	times []time.Duration // sorted
	took  time.Duration
	cpu   time.Duration // of the injector, for each answer
	size  int
}

func (r result) perSecond() float64 { return float64(len(r.times)) / r.took.Seconds() }

// at is a quantile of the latencies, rounded for people.
func (r result) at(q float64) time.Duration {
	i := min(int(q*float64(len(r.times))), len(r.times)-1)
	return r.times[i].Round(time.Microsecond)
}

// load asks at a rate, each question on time whether the last is answered or not; or without a rate as fast as so many clients can. A
// latency counts from when the question was due, so that a server that stalls does not hide it.
func (s *server) load(body []byte, rate, clients int, duration time.Duration) (result, error) {
	var mu sync.Mutex
	var r result
	var first error
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	one := func(due time.Time) {
		size, err := s.ask(ctx, body)
		took := time.Since(due)
		mu.Lock()
		defer mu.Unlock()
		if err != nil && first == nil {
			first = err
		}
		r.times, r.size = append(r.times, took), size
	}
	cpu, begin := s.cpu(), time.Now()
	var all sync.WaitGroup
	if rate > 0 {
		for i := range int(float64(rate) * duration.Seconds()) {
			due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
			time.Sleep(time.Until(due))
			all.Go(func() { one(due) })
		}
	}
	for range clients {
		all.Go(func() {
			for time.Since(begin) < duration {
				one(time.Now())
			}
		})
	}
	all.Wait()
	r.took = time.Since(begin)
	r.cpu = ((s.cpu() - cpu) / time.Duration(len(r.times))).Round(time.Microsecond)
	slices.Sort(r.times)
	return r, first
}

// begin starts the process and waits until it is ready.
func (s *server) begin(ready string) error {
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start the injector: %w", err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		answer, err := (&http.Client{Timeout: time.Second}).Get(ready)
		if err != nil {
			continue
		}
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
	}
	s.stop()
	return fmt.Errorf("the injector is not ready")
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// profile writes one of the process's into a directory; "" is none.
func (s *server) profile(dir, name string, took time.Duration) error {
	if dir == "" {
		return nil
	}
	span := ""
	if took > 0 {
		span = fmt.Sprintf("?seconds=%d", int(took.Seconds()))
	}
	answer, err := http.Get(fmt.Sprintf("%s/debug/pprof/%s%s", s.pages, name, span))
	if err != nil {
		return fmt.Errorf("profile the injector: %w", err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".pprof"), raw, 0o644)
	}
	if err != nil {
		return fmt.Errorf("profile the injector: %w", err)
	}
	return nil
}

// cpu is what the process has used, user and system, in ticks of 10 ms.
func (s *server) cpu() time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory of the process, in MiB: its own, and with the pages of its program that are in memory, which others share.
func (s *server) memory() (own, all float64) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0
	}
	for _, l := range strings.Split(string(raw), "\n") {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "RssAnon:":
			own = kib / 1024
		case "VmRSS:":
			all = kib / 1024
		}
	}
	return own, all
}
