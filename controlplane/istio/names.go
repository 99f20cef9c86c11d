package istio

import (
	extensions "istio.io/api/extensions/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1beta1 "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Short names of the types in Set, for the generic code over its lists.
type (
	vs     = *networking.VirtualService
	dr     = *networking.DestinationRule
	gw     = *networking.Gateway
	se     = *networking.ServiceEntry
	we     = *networking.WorkloadEntry
	sc     = *networking.Sidecar
	ef     = *networking.EnvoyFilter
	wp     = *extensions.WasmPlugin
	te     = *extensions.TrafficExtension
	tel    = *telemetry.Telemetry
	pa     = *security.PeerAuthentication
	pc     = *networkingv1beta1.ProxyConfig
	ap     = *security.AuthorizationPolicy
	ra     = *security.RequestAuthentication
	svc    = *corev1.Service
	pod    = *corev1.Pod
	eps    = *corev1.Endpoints
	slice  = *discoveryv1.EndpointSlice
	ns     = *corev1.Namespace
	secret = *corev1.Secret
)
