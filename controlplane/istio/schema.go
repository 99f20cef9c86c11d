package istio

import _ "embed" // for the schema files

//go:embed schema/ratelimit.crd.yaml
var rateLimitCRD string

//go:embed schema/ratelimit.schema.json
var rateLimitSchema string

// RateLimitCRD is the CustomResourceDefinition of RateLimit, as YAML.
func RateLimitCRD() string { return rateLimitCRD }

// RateLimitSchema is the JSON schema (draft 2020-12) of a whole RateLimit object, for editors and CI. It is made from the CRD.
func RateLimitSchema() string { return rateLimitSchema }
