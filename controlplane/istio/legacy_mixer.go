package istio

func (c *conversion) mixer() {
	for _, o := range c.of("quota", "memquota", "redisquota", "QuotaSpec", "QuotaSpecBinding", "rule", "handler", "instance") {
		c.say(o, Error, "", o.Kind+" is no longer in Istio: Mixer is gone", "for quotas write a RateLimit ("+mizzenGroup+"/v1alpha1) with limits: [{key, requests, per}]")
	}
	for _, o := range c.of(mixerOthers()...) {
		c.say(o, Error, "", o.Kind+" is no longer in Istio: Mixer is gone", "write an AuthorizationPolicy (security.istio.io/v1)")
	}
}

func mixerOthers() []string {
	return []string{"denier", "listchecker", "checknothing", "listentry"}
}
