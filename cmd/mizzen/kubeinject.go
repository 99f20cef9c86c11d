package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/mizzen-mesh/mizzen/injector/inject"
	"github.com/mizzen-mesh/mizzen/injector/kubeinject"
	"github.com/mizzen-mesh/mizzen/injector/settings"
	"github.com/mizzen-mesh/mizzen/internal/kubeconfig"
)

// policyFlags say where an injection policy comes from.
type policyFlags struct {
	files     settings.Files
	cluster   kubeconfig.Flags
	namespace string // of the installation
	revision  string
}

// add adds the flags; namespace is what that of the installation is called.
func (p *policyFlags) add(cmd *cobra.Command, namespace string) {
	f := cmd.Flags()
	f.StringVar(&p.files.Config, "injectConfigFile", "", "`FILE` of key config of ConfigMap istio-sidecar-injector")
	f.StringVar(&p.files.Values, "valuesFile", "", "`FILE` of its key values, or of the chart's values")
	f.StringVar(&p.files.Mesh, "meshConfigFile", "", "`FILE` of a MeshConfig")
	f.StringVar(&p.namespace, namespace, "istio-system", "`NAMESPACE` of the installation")
	f.StringVarP(&p.revision, "revision", "r", "", "`NAME` of the control plane's revision")
	p.cluster.Add(f)
}

// source is the cluster that has the settings.
func (p *policyFlags) source(log *slog.Logger) (settings.Cluster, error) {
	config, err := p.cluster.Config()
	if err != nil {
		return settings.Cluster{}, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return settings.Cluster{}, fmt.Errorf("reach the cluster: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return settings.Cluster{}, fmt.Errorf("reach the cluster: %w", err)
	}
	return settings.Cluster{Client: client, Dynamic: dyn, Namespace: p.namespace, Revision: p.revision, Log: log}, nil
}

// fromFiles reads the policy of the files; of none, the defaults.
func (p *policyFlags) fromFiles() (*inject.Policy, error) {
	t, err := p.files.Read()
	if err != nil {
		return nil, err
	}
	return t.Policy(p.revision)
}

// read is the cluster's policy if one is named, else that of the files. Files win over what the cluster has.
func (p *policyFlags) read(ctx context.Context, log *slog.Logger) (*inject.Policy, error) {
	if !p.cluster.Given() {
		return p.fromFiles()
	}
	if p.files != (settings.Files{}) {
		return nil, usagef("read arguments: settings come from files or from a cluster, not from both")
	}
	c, err := p.source(log)
	if err != nil {
		return nil, err
	}
	return c.Read(ctx)
}

func newKubeInjectCommand() *cobra.Command {
	var p policyFlags
	var out, namespace, native string
	var in []string
	cmd := &cobra.Command{
		Use:   "kube-inject -f PATH",
		Short: "Put the sidecar into the pod templates of manifests",
		Long: `Put the sidecar into the pods and pod templates of manifests: Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob, Pod,
ReplicationController, DeploymentConfig, Rollout, and Lists of them. What is not injected comes out byte for byte as it went in; what is
injected already is left alone. Comments in what is changed are lost. Warnings, and what is left alone and why, go to stderr.

Settings come from files, or with --kubeconfig or --context from the ConfigMaps of an installation; without either they are the chart's
defaults. Without a cluster nobody knows whether it has native sidecars: the values' mizzen.nativeSidecars or --nativeSidecars says so.`,
		Example: `  mizzen kube-inject -f shop.yaml | kubectl apply -f -
  mizzen kube-inject -f shop.yaml -o shop-injected.yaml --kubeconfig ~/.kube/config`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(in) == 0 {
				return usagef("read arguments: no -f PATH was given")
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			policy, err := p.read(cmd.Context(), log)
			if err != nil {
				return err
			}
			switch native {
			case "":
			case "true", "false":
				policy = policy.With(policy.Mesh, policy.ProxyConfigs, native == "true")
			default:
				return usagef("read --nativeSidecars: want true or false, got %q", native)
			}
			text, err := manifests(in, cmd.InOrStdin())
			if err != nil {
				return err
			}
			var b bytes.Buffer
			warnings, err := kubeinject.Run(policy, kubeinject.Options{Namespace: namespace}, bytes.NewReader(text), &b)
			for _, w := range warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w)
			}
			if err != nil {
				return fmt.Errorf("inject %s: %w", strings.Join(in, " "), err)
			}
			if out == "" || out == "-" {
				_, err = cmd.OutOrStdout().Write(b.Bytes())
				return err
			}
			if err := os.WriteFile(out, b.Bytes(), 0o644); err != nil {
				return fmt.Errorf("write manifests: %w", err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&in, "filename", "f", nil, "`PATH` of manifests: a file, a directory, or - for stdin; it may be given several times")
	f.StringVarP(&out, "output", "o", "", "`FILE` to write; default: stdout")
	f.StringVarP(&namespace, "namespace", "n", "", "`NAMESPACE` of objects that name none; default: default")
	f.StringVar(&native, "nativeSidecars", "", "true or `false`: whether the cluster has native sidecars; default: what is known of it")
	p.add(cmd, "istioNamespace")
	return cmd
}

// manifests reads files, stdin, or all files of directories as one stream.
func manifests(paths []string, stdin io.Reader) ([]byte, error) {
	var out []byte
	add := func(text []byte) {
		if len(out) > 0 {
			if !bytes.HasSuffix(out, []byte("\n")) {
				out = append(out, '\n')
			}
			out = append(out, "---\n"...)
		}
		out = append(out, text...)
	}
	for _, path := range paths {
		if path == "-" {
			text, err := io.ReadAll(stdin)
			if err != nil {
				return nil, fmt.Errorf("read stdin: %w", err)
			}
			add(text)
			continue
		}
		err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || file != path && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
				return err
			}
			text, err := os.ReadFile(file)
			if err == nil {
				add(text)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read manifests: %w", err)
		}
	}
	return out, nil
}
