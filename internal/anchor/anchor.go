// Package anchor holds dependencies until their users land.
package anchor

import (
	_ "github.com/miekg/dns"
	_ "github.com/vishvananda/netns"
)
