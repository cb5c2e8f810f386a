// Package idle lets a component collect garbage rarely while it works and often while it rests, when what it does
// not need goes back to the operating system: an idle pool leaves the machine to the person who started it.
package idle

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	work       = 16 << 20 // bytes allocated in a second by a component that works
	rest       = 15       // seconds without work before it rests
	workGrowth = 100      // percent that the heap may grow between collections
	restGrowth = 20
)

// Watch sets the garbage collector's pace until the process ends.
func Watch() {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	before, quiet := uint64(0), 0
	for range time.Tick(time.Second) {
		metrics.Read(sample)
		allocated := sample[0].Value.Uint64()
		if allocated-before > work {
			if quiet >= rest {
				debug.SetGCPercent(workGrowth)
			}
			quiet = 0
		} else if quiet++; quiet == rest {
			debug.SetGCPercent(restGrowth)
			debug.FreeOSMemory()
		}
		before = allocated
	}
}
