package place

import (
	"sync"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cache "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// How long Envoy keeps a backend after the last route to it is gone. Thousands of routes take it a good second to take in.
const retirement = 5 * time.Second

// Table is everything that one fleet of Envoys is told, by type.
type Table = map[resource.Type][]types.Resource

type retired struct {
	what  types.Resource
	until time.Time
}

type fleet struct {
	latest  Table
	retired map[resource.Type]map[string]retired
}

var (
	fleets    = map[string]*fleet{}
	fleetLock sync.Mutex
	again     = Table{"again": nil}
)

// Retiring gives a table what the one before had and it has no longer: clusters and their endpoints, for a moment more.
// Envoy drops a cluster at once but takes in routes later, and what is sent to a cluster in between fails. When the moment
// is over, `publish` is called with a table that stands for the latest one.
func Retiring(key string, table Table, publish func(Table)) Table {
	fleetLock.Lock()
	defer fleetLock.Unlock()
	one := fleets[key]
	if one == nil {
		one = &fleet{retired: map[resource.Type]map[string]retired{}}
		fleets[key] = one
	}
	if _, repeat := table["again"]; repeat {
		table = one.latest
	}
	if table == nil {
		delete(fleets, key)
		return nil
	}
	now := time.Now()
	served, before := make(Table, len(table)), one.latest
	for kind, resources := range table {
		served[kind] = resources
	}
	one.latest = table
	waiting := false
	for _, kind := range []resource.Type{resource.ClusterType, resource.EndpointType} {
		kept := one.keep(kind, before[kind], table[kind], now)
		if len(kept) > 0 {
			served[kind] = append(append([]types.Resource{}, table[kind]...), kept...)
			waiting = true
		}
	}
	if waiting {
		time.AfterFunc(retirement+time.Millisecond, func() { publish(again) })
	}
	return served
}

// keep retires what is in `before` and not in `now`; returns everything that is retired still.
func (f *fleet) keep(kind resource.Type, before, present []types.Resource, now time.Time) []types.Resource {
	named := make(map[string]bool, len(present))
	for _, one := range present {
		named[cache.GetResourceName(one)] = true
	}
	found := f.retired[kind]
	if found == nil {
		found = map[string]retired{}
		f.retired[kind] = found
	}
	for _, one := range before {
		if name := cache.GetResourceName(one); !named[name] {
			found[name] = retired{one, now.Add(retirement)}
		}
	}
	var kept []types.Resource
	for name, one := range found {
		if named[name] || !now.Before(one.until) {
			delete(found, name)
			continue
		}
		kept = append(kept, one.what)
	}
	return kept
}
