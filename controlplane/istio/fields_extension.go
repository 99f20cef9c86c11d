package istio

// extensionRules is the support table of WasmPlugin and TrafficExtension.
func extensionRules() []supportRule {
	const unsigned = "nobody has said how such a signature is made, and Istio verifies none: write sha256, which is verified, or @sha256: in the url"
	return []supportRule{
		yes("WasmPlugin", "selector targetRef targetRefs url sha256 imagePullPolicy imagePullSecret pluginConfig pluginName phase priority failStrategy vmConfig match type"),
		no("WasmPlugin", "verificationKey", unsigned),
		yes("WasmPlugin.TrafficSelector", "mode ports"),
		yes("VmConfig", "env"),
		yes("EnvVar", "name value valueFrom"),
		yes("TrafficExtension", "selector targetRefs phase priority match wasm lua"),
		yes("TrafficSelector", "mode ports"),
		yes("WasmConfig", "url sha256 imagePullPolicy imagePullSecret pluginConfig pluginName failStrategy vmConfig type"),
		no("WasmConfig", "verificationKey", unsigned),
		yes("LuaConfig", "inlineCode"),
	}
}
