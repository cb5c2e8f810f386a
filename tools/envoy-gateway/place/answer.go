package place

import (
	"os"
	"strings"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// Rejection is what Envoy refuses now, of one type of resource; the last good one goes on serving.
type Rejection struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// refusal is one update that Envoy refused, with the resources that stand as before because of it.
type refusal struct {
	Rejection
	names map[string]bool
	// told: Envoy named them itself. Otherwise they are all of the update, most of which may have been right.
	told bool
}

// update is one that was sent and is not answered yet; nonces are counted anew for each connection of Envoy.
type update struct {
	stream int64
	nonce  string
}

var (
	refusals       = map[string][]refusal{}
	updates        = map[update][]string{}
	rejectionsFile = required("COMMONPOOL_REJECTIONS")
	rejectionsLock sync.Mutex
)

func init() {
	_ = os.Remove(rejectionsFile) // a new Envoy Gateway sends again what was refused, and hears of it again
}

// Sent notes which resources an update changes or takes away, for when it is answered.
func Sent(stream int64, response *discovery.DeltaDiscoveryResponse) {
	names := append([]string{}, response.GetRemovedResources()...)
	for _, one := range response.GetResources() {
		names = append(names, one.GetName())
	}
	rejectionsLock.Lock()
	defer rejectionsLock.Unlock()
	for one := range updates {
		if one.stream != stream {
			delete(updates, one) // of a connection that is over: there is one Envoy
		}
	}
	updates[update{stream, response.GetNonce()}] = names
}

// Answered notes that Envoy accepted (no reason) or refused the last update of a type. A request without a nonce answers
// nothing. An update holds only what changed: what was refused before stands refused until its own resource was accepted.
func Answered(stream int64, typeURL, nonce, reason string) {
	if nonce == "" {
		return
	}
	rejectionsLock.Lock()
	defer rejectionsLock.Unlock()
	names := updates[update{stream, nonce}]
	delete(updates, update{stream, nonce})
	kept := unsettled(refusals[typeURL], names)
	if reason = strings.TrimSpace(reason); reason != "" {
		kept = append(kept, refused(refusals[typeURL], names, reason))
	}
	if len(kept) == 0 && len(refusals[typeURL]) == 0 {
		return
	}
	refusals[typeURL] = kept
	write(rejectionsFile, rejections())
}

// unsettled is what of the refusals an answer about these resources leaves.
func unsettled(before []refusal, names []string) []refusal {
	var kept []refusal
	for _, one := range before {
		met := false
		for _, name := range names {
			met = met || one.names[name]
			delete(one.names, name)
		}
		if len(one.names) > 0 && (one.told || !met) {
			kept = append(kept, one)
		}
	}
	return kept
}

func refused(before []refusal, names []string, reason string) refusal {
	found := refusal{Rejection{time.Now().UTC().Truncate(time.Second), reason}, map[string]bool{}, true}
	words := " " + strings.ReplaceAll(reason, "\n", " ")
	for _, name := range names {
		if strings.Contains(words, " "+name+": ") {
			found.names[name] = true
		}
	}
	if len(found.names) == 0 {
		found.told = false
		for _, name := range names {
			found.names[name] = true
		}
	}
	for _, one := range before {
		if one.Reason == reason {
			found.Since = one.Since
		}
	}
	return found
}

// rejections is what stands refused, by the last word of the type's name.
func rejections() map[string]Rejection {
	found := map[string]Rejection{}
	for typeURL, all := range refusals {
		for _, one := range all {
			name := typeURL[strings.LastIndex(typeURL, ".")+1:]
			if other, more := found[name]; more {
				one.Since, one.Reason = other.Since, other.Reason+"; "+one.Reason
			}
			found[name] = one.Rejection
		}
	}
	return found
}
