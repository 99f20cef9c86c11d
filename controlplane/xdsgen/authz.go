package xdsgen

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	netrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

const (
	rbacFilter    = "envoy.filters.http.rbac"
	rbacTCPFilter = "envoy.filters.network.rbac"
)

// Prefixes of the statistics and metadata of policies that are tried dry: Istio's.
const (
	dryAllow = "istio_dry_run_allow_"
	dryDeny  = "istio_dry_run_deny_"
)

// authRules are the rules of one filter: those in force, and those that are only tried. Any may be nil.
type authRules struct {
	rules, shadow *rbacv3.RBAC
	shadowPrefix  string
}

func (r authRules) empty() bool { return r.rules == nil && r.shadow == nil }

func (r authRules) http() *httprbacv3.RBAC {
	return &httprbacv3.RBAC{Rules: r.rules, ShadowRules: r.shadow, ShadowRulesStatPrefix: r.shadowPrefix}
}

func (r authRules) tcp() *netrbacv3.RBAC {
	return &netrbacv3.RBAC{Rules: r.rules, ShadowRules: r.shadow, ShadowRulesStatPrefix: r.shadowPrefix, StatPrefix: "tcp."}
}

// rulesOf splits policies into those in force and those tried dry.
func rulesOf(action rbacv3.RBAC_Action, policies []*mesh.AuthPolicy, tcp bool, shadowPrefix string) (authRules, error) {
	var live, dry []*mesh.AuthPolicy
	for _, p := range policies {
		if p.DryRun {
			dry = append(dry, p)
		} else {
			live = append(live, p)
		}
	}
	var out authRules
	var err error
	if len(live) > 0 {
		if out.rules, err = rbacRules(action, live, tcp, ""); err != nil {
			return out, err
		}
	}
	if len(dry) > 0 {
		out.shadowPrefix = shadowPrefix
		out.shadow, err = rbacRules(action, dry, tcp, "")
	}
	return out, err
}

// judgements are the filters that decide by themselves: AUDIT marks, then DENY, then ALLOW.
func judgements(a *mesh.Auth, tcp bool) ([]authRules, error) {
	var out []authRules
	for _, step := range []struct {
		action   rbacv3.RBAC_Action
		policies []*mesh.AuthPolicy
		prefix   string
	}{
		{rbacv3.RBAC_LOG, a.Audit, ""}, {rbacv3.RBAC_DENY, a.Deny, dryDeny}, {rbacv3.RBAC_ALLOW, a.Allow, dryAllow},
	} {
		r, err := rulesOf(step.action, step.policies, tcp, step.prefix)
		if err != nil {
			return nil, err
		}
		if !r.empty() {
			out = append(out, r)
		}
	}
	return out, nil
}

// customRules mark, for the authorizer at place i, what it is to be asked about; without one they refuse everything.
func customRules(c *mesh.CustomAuth, i int, tcp bool) (authRules, error) {
	if c.Provider == nil {
		everything := &rbacv3.Policy{Permissions: []*rbacv3.Permission{permissionSide().any}, Principals: []*rbacv3.Principal{principalSide().any}}
		return authRules{rules: &rbacv3.RBAC{Action: rbacv3.RBAC_DENY, Policies: map[string]*rbacv3.Policy{badCustom: everything}}}, nil
	}
	r, err := rbacRules(rbacv3.RBAC_DENY, c.Policies, tcp, customPrefix)
	return authRules{shadow: r, shadowPrefix: customStatsOf(i)}, err
}

// namedConfig is a filter before it is packed.
type namedConfig struct {
	name   string
	config proto.Message
}

// askFilters ask external authorizers; they stand before everything that reads tokens.
func askFilters(a *mesh.Auth, tcp bool) ([]namedConfig, error) {
	var out []namedConfig
	for i, c := range a.Custom {
		if tcp && c.Provider != nil && !c.Provider.GRPC {
			continue // it speaks HTTP; compile has said so
		}
		r, err := customRules(c, i, tcp)
		if err != nil {
			return nil, err
		}
		switch {
		case tcp:
			out = append(out, namedConfig{rbacTCPFilter, r.tcp()})
			if c.Provider != nil {
				out = append(out, namedConfig{"envoy.filters.network.ext_authz", tcpExtAuthz(c, i)})
			}
		default:
			out = append(out, namedConfig{rbacFilter, r.http()})
			if c.Provider != nil {
				out = append(out, namedConfig{"envoy.filters.http.ext_authz", httpExtAuthz(c, i)})
			}
		}
	}
	return out, nil
}

// judgeFilters judge AuthorizationPolicies.
func judgeFilters(a *mesh.Auth, tcp bool) ([]namedConfig, error) {
	rules, err := judgements(a, tcp)
	if err != nil {
		return nil, err
	}
	var out []namedConfig
	for _, r := range rules {
		if tcp {
			out = append(out, namedConfig{rbacTCPFilter, r.tcp()})
		} else {
			out = append(out, namedConfig{rbacFilter, r.http()})
		}
	}
	return out, nil
}

// authStage is one part of what guards a chain, between which extensions may stand.
type authStage uint8

const (
	stageAsk   authStage = iota // external authorizers
	stageToken                  // tokens are read
	stageJudge                  // AuthorizationPolicies are judged
	stages                      // how many there are
)

// httpAuth lists the filters of one stage of an HTTP chain.
func httpAuth(a *mesh.Auth, stage authStage) ([]*hcmv3.HttpFilter, error) {
	if a == nil {
		return nil, nil
	}
	var configs []namedConfig
	switch stage {
	case stageAsk:
		var err error
		if configs, err = askFilters(a, false); err != nil {
			return nil, err
		}
	case stageToken:
		if len(a.Tokens) > 0 {
			configs = append(configs, namedConfig{jwtFilter, jwtAuthn(a.Tokens)})
		}
	case stageJudge:
		var err error
		if configs, err = judgeFilters(a, false); err != nil {
			return nil, err
		}
	}
	var out []*hcmv3.HttpFilter
	for _, c := range configs {
		f, err := httpFilter(c.name, c.config)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// tcpFilters is a chain of plain TCP: what guards it, extensions where their phases are, then the proxy.
func tcpFilters(in listenerInput, name string, p *tcpproxyv3.TcpProxy) (*listenerv3.FilterChain, error) {
	chain, err := filterChain(name, "envoy.filters.network.tcp_proxy", p)
	if err != nil {
		return nil, err
	}
	var filters []*listenerv3.Filter
	for _, step := range []func() ([]*listenerv3.Filter, error){
		func() ([]*listenerv3.Filter, error) { return tcpAuth(in.Auth, askFilters) },
		func() ([]*listenerv3.Filter, error) { return tcpExtensions(in, mesh.PhaseAuthn, mesh.PhaseAuthz) },
		func() ([]*listenerv3.Filter, error) { return tcpAuth(in.Auth, judgeFilters) },
		func() ([]*listenerv3.Filter, error) { return tcpExtensions(in, mesh.PhaseStats, "") },
	} {
		more, err := step()
		if err != nil {
			return nil, err
		}
		filters = append(filters, more...)
	}
	chain.Filters = append(filters, chain.Filters...)
	return chain, nil
}

// tcpAuth lists the filters of one stage of a chain of plain TCP.
func tcpAuth(a *mesh.Auth, stage func(a *mesh.Auth, tcp bool) ([]namedConfig, error)) ([]*listenerv3.Filter, error) {
	if a == nil {
		return nil, nil
	}
	configs, err := stage(a, true)
	if err != nil {
		return nil, err
	}
	var out []*listenerv3.Filter
	for _, c := range configs {
		packed, err := toAny(c.config)
		if err != nil {
			return nil, err
		}
		out = append(out, &listenerv3.Filter{Name: c.name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed}})
	}
	return out, nil
}

// authClusters are the clusters that guards call: they must be there before the listener is.
func authClusters(l *mesh.Listener) []string {
	var out []string
	add := func(a *mesh.Auth) {
		if a == nil {
			return
		}
		for _, c := range a.Custom {
			out = append(out, c.Cluster)
		}
		for _, t := range a.Tokens {
			out = append(out, t.KeysCluster)
		}
	}
	add(l.Auth)
	for _, i := range l.Inbound {
		add(i.Auth)
	}
	return out
}
