package place

import "time"

const longestWhileOut = 5 * time.Second

// WhileOut is the time between two checks of a backend that is out. A declared interval can be long, as checks are a burden for
// some machines; but one that gets no calls can bear them. Without this, an Envoy that starts while the machine is busy, so that
// a first check is late, would keep a service out for several of its intervals.
func WhileOut(interval time.Duration) time.Duration {
	return min(interval, longestWhileOut)
}
