package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/spf13/pflag"

	"github.com/mizzen-mesh/mizzen/injector/handover"
	"github.com/mizzen-mesh/mizzen/injector/iptables"
	"github.com/mizzen-mesh/mizzen/internal/netns"
)

// patience is how long one call of the plugin may take; the kubelet gives up after two minutes.
const patience = time.Minute

// programs is where iptables and nft are, in case that the runtime's PATH does not say.
const programs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// annotations is the capability by which containerd and CRI-O hand a pod's annotations to plugins.
const annotations = "io.kubernetes.cri.pod-annotations"

// config is the plugin's entry in a CNI configuration, as the runtime completes it.
type config struct {
	types.PluginConf
	settings
	RuntimeConfig map[string]json.RawMessage `json:"runtimeConfig"`
}

// settings are what the installer writes into the entry.
type settings struct {
	// Kubeconfig is the file by which the API server is asked about pods whose annotations the runtime does not say.
	Kubeconfig string `json:"kubeconfig"`
	// ExcludeNamespaces are those whose pods are left alone.
	ExcludeNamespaces []string `json:"excludeNamespaces,omitempty"`
}

// plugin is one call.
type plugin struct{ log *slog.Logger }

// Plugin does what the environment (CNI_COMMAND and so on) and stdin ask for, by the CNI specification, and returns the exit status. It is a process's own:
// what the specification wants on stdout goes there.
func Plugin(log *slog.Logger) int {
	_ = os.Setenv("PATH", strings.Trim(os.Getenv("PATH")+":"+programs, ":"))
	p := plugin{log}
	err := skel.PluginMainFuncsWithError(
		skel.CNIFuncs{Add: p.add, Check: p.check, Del: p.del, Status: p.status}, version.All,
		Name+": has the connections of pods with a sidecar intercepted; container runtimes call it",
	)
	if err == nil {
		return 0
	}
	_ = err.Print()
	return 1
}

// add makes the rules, if the pod is to have any, and passes on what the plugins before it have come to.
func (p plugin) add(args *skel.CmdArgs) error {
	c, err := read(args)
	if err != nil {
		return err
	}
	if c.PrevResult == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, Name+" has to follow another plugin, which makes the pod's network", "")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = p.inPod(ctx, c, args, func(a iptables.Applier, o iptables.Options) error {
		used, _, err := a.Apply(ctx, o)
		if err == nil {
			p.log.Info("traffic goes through the sidecar", "args", args.Args, "backend", used, "families", len(a.Families))
		}
		return err
	})
	if err != nil {
		return refuse(args, err)
	}
	return types.PrintResult(c.PrevResult, c.CNIVersion)
}

// check tells whether the rules are still there.
func (p plugin) check(args *skel.CmdArgs) error {
	c, err := read(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.inPod(ctx, c, args, func(a iptables.Applier, o iptables.Options) error { return a.Verify(ctx, o) }); err != nil {
		return refuse(args, err)
	}
	return nil
}

// del: the rules go with the namespace.
func (plugin) del(*skel.CmdArgs) error { return nil }

// status tells whether pods can be served at all.
func (plugin) status(*skel.CmdArgs) error {
	for _, b := range iptables.Backends() {
		if _, err := exec.LookPath(string(b)); err == nil {
			return nil
		}
	}
	return types.NewError(types.ErrPluginNotAvailable, Name+": the node has neither iptables nor nft", "looked in "+os.Getenv("PATH"))
}

func read(args *skel.CmdArgs) (*config, error) {
	c := &config{}
	err := json.Unmarshal(args.StdinData, c)
	if err == nil {
		err = version.ParsePrevResult(&c.PluginConf)
	}
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, Name+": read configuration: "+err.Error(), "")
	}
	return c, nil
}

// refuse says why the pod does not start: kubectl describe shows it.
func refuse(args *skel.CmdArgs, err error) error {
	why := fmt.Sprintf("%s: the connections of pod %s cannot be intercepted", Name, podOf(args))
	return types.NewError(types.ErrInternal, why, err.Error())
}

// inPod calls f on a thread in the pod's network namespace, with the rules that it is to have; not at all if it is to have none.
func (p plugin) inPod(ctx context.Context, c *config, args *skel.CmdArgs, f func(iptables.Applier, iptables.Options) error) error {
	pod := podOf(args)
	if pod.namespace == "" || slices.Contains(c.ExcludeNamespaces, pod.namespace) {
		return nil
	}
	about, err := c.annotations(ctx, pod)
	if err != nil {
		return err
	}
	ask, err := handover.Of(about)
	if err != nil || ask == nil {
		return err
	}
	o, backend, err := rules(ask)
	if err != nil {
		return fmt.Errorf("read annotation %s: %w", handover.InterceptionAnnotation, err)
	}
	return netns.DoAt(args.Netns, func() error {
		here, err := iptables.Addresses()
		if err != nil {
			return err
		}
		return f(iptables.Applier{Backend: backend, Families: iptables.Families(here), Log: p.log}, o)
	})
}

// annotations are the pod's: the runtime's word, else the API server's.
func (c *config) annotations(ctx context.Context, pod podName) (map[string]string, error) {
	var out map[string]string
	if raw, ok := c.RuntimeConfig[annotations]; ok {
		if err := json.Unmarshal(raw, &out); err != nil {
			return nil, fmt.Errorf("read %s from the runtime: %w", annotations, err)
		}
	}
	if len(out) > 0 { // a pod of the kubelet's always has some
		return out, nil
	}
	api, err := fromKubeconfig(c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	found, err := api.pod(ctx, pod)
	return found.Metadata.Annotations, err
}

// rules are what the command `mizzen iptables` would make of the arguments. A pod's resolv.conf is not known yet: where DNS is captured, all of it is.
func rules(i *handover.Interception) (iptables.Options, iptables.Backend, error) {
	fs := pflag.NewFlagSet("iptables", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o := iptables.Bind(fs)
	backend := fs.String("backend", string(iptables.Auto), "")
	fs.String("log_output_level", "", "")
	fs.Bool("log_as_json", false, "")
	err := fs.Parse(i.Args)
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("unexpected %q", fs.Arg(0))
	}
	if err == nil {
		err = iptables.Settle(fs, o, func(name string) (string, bool) { v, ok := i.Env[name]; return v, ok })
	}
	if err != nil {
		return iptables.Options{}, "", err
	}
	o.CaptureAllDNS = o.CaptureAllDNS || o.RedirectDNS
	b, err := iptables.ParseBackend(*backend)
	return *o, b, errors.Join(err, o.Validate())
}

// podName is what the runtime calls the pod in CNI_ARGS.
type podName struct{ namespace, name, uid string }

func (p podName) String() string { return p.namespace + "/" + p.name }

func podOf(args *skel.CmdArgs) podName {
	var p podName
	for _, pair := range strings.Split(args.Args, ";") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "K8S_POD_NAMESPACE":
			p.namespace = value
		case "K8S_POD_NAME":
			p.name = value
		case "K8S_POD_UID":
			p.uid = value
		}
	}
	return p
}
