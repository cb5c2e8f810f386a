package place

import (
	"os"
	"strings"
	"sync"
	"time"
)

// Rejection is what Envoy refuses now, of one type of resource; the last good one goes on serving.
type Rejection struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

var (
	rejections     = map[string]Rejection{}
	rejectionsFile = required("COMMONPOOL_REJECTIONS")
	rejectionsLock sync.Mutex
)

func init() {
	_ = os.Remove(rejectionsFile) // a new Envoy Gateway sends again what was refused, and hears of it again
}

// Answered notes that Envoy accepted (no reason) or refused the last update of a type. A request without a nonce answers
// nothing.
func Answered(typeURL, nonce, reason string) {
	if nonce == "" {
		return
	}
	name := typeURL[strings.LastIndex(typeURL, ".")+1:]
	rejectionsLock.Lock()
	defer rejectionsLock.Unlock()
	before, refused := rejections[name]
	switch {
	case reason == "" && !refused, refused && before.Reason == reason:
		return
	case reason == "":
		delete(rejections, name)
	default:
		rejections[name] = Rejection{Since: time.Now().UTC().Truncate(time.Second), Reason: strings.TrimSpace(reason)}
	}
	write(rejectionsFile, rejections)
}
