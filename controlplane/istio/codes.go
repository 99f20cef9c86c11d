package istio

// Codes of diagnostics. Those beginning with IST mean what they mean to `istioctl analyze`; those beginning with MZ are ours.
// MZ00xx reading, MZ01xx objects and sets, MZ02xx fields, MZ03xx traps, MZ04xx sources;
// MZ05xx are compile's, MZ06xx server's.
const (
	CodeDeprecated   = "IST0002" // an obsolete field or value; it is read as its author meant it
	CodeMisplaced    = "IST0107" // an annotation on a kind that it does not belong on
	CodeUnknownNote  = "IST0108" // an annotation of Istio's domain that Istio does not have
	CodeBadNote      = "IST0125" // an annotation whose value is not of its form
	CodeReplace      = "IST0152" // an EnvoyFilter replaces what can only be merged with
	CodeAdd          = "IST0153" // an EnvoyFilter adds what there is only one of
	CodeRemove       = "IST0154" // an EnvoyFilter removes what cannot be left out
	CodeSchema       = "IST0106" // the object does not fit its schema, or breaks one of its rules
	CodeUnreachable  = "IST0130" // a rule that no request can reach
	CodeIneffective  = "IST0131" // a match of a rule that adds nothing
	CodeSyntax       = "MZ0001"  // the document is not YAML
	CodeDuplicateKey = "MZ0002"  // one key twice in one mapping
	CodeNoKind       = "MZ0003"  // a document without kind, apiVersion or name
	CodeUnknownKind  = "MZ0004"  // a kind that Mizzen does not know
	CodeObsoleteKind = "MZ0005"  // a kind that Istio removed; the message says what to write
	CodeTooLarge     = "MZ0006"  // a document beyond the size that is read
	CodeRead         = "MZ0007"  // the file could not be read
	CodeDuplicate    = "MZ0101"  // the same object twice; the first one counts
	CodeUnsupported  = "MZ0201"  // a field of Istio's that this version refuses
	CodeIgnored      = "MZ0202"  // a field that has no effect here
	CodeUnknownField = "MZ0203"  // an unknown field of a Kubernetes object or of MeshConfig; it is left out
	CodeAnnotation   = "MZ0204"  // an annotation that resembles one of Mizzen's and is none
	CodeTrap         = "MZ0301"  // does less than it seems to: a fault without percentage, a setting without its other half
	CodeRetryOn      = "MZ0302"  // retries without retryOn: an answered 500 is not tried again
	CodeKept         = "MZ0401"  // a broken edit; the previous version stays in force
)
