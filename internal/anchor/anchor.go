// Package anchor holds dependencies until their users land.
package anchor

import (
	_ "github.com/miekg/dns"
	_ "github.com/vishvananda/netns"
	_ "gomodules.xyz/jsonpatch/v2"
	_ "helm.sh/helm/v3/pkg/action"
	_ "helm.sh/helm/v3/pkg/chart/loader"
	_ "helm.sh/helm/v3/pkg/cli"
	_ "helm.sh/helm/v3/pkg/engine"
	_ "k8s.io/cli-runtime/pkg/genericclioptions"
	_ "k8s.io/client-go/tools/leaderelection"
)
