// Package anchor holds dependencies until their users land.
package anchor

import (
	_ "github.com/vishvananda/netns"
)
