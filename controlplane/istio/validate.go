package istio

import "google.golang.org/protobuf/reflect/protoreflect"

func validateVirtualService(o *Object[vs]) Diagnostics    { return nil }
func validateDestinationRule(o *Object[dr]) Diagnostics   { return nil }
func validateGateway(o *Object[gw]) Diagnostics           { return nil }
func validateServiceEntry(o *Object[se]) Diagnostics      { return nil }
func validateWorkloadEntry(o *Object[we]) Diagnostics     { return nil }
func validateSidecar(o *Object[sc]) Diagnostics           { return nil }
func validateRateLimit(o *Object[*RateLimit]) Diagnostics { return nil }

func support(kind string, m *Meta, spec protoreflect.Message) Diagnostics { return nil }
