package place

import "time"

const (
	breath      = 20 * time.Millisecond // between two turns when nothing waits
	turnsAtOnce = 3                     // what one person's change takes
	longestRest = 3 * time.Second
)

// Pace is for work that is done whole at every change, however small. While somebody writes thousands of objects, one turn
// would follow the other and take a core from the API server that is written to.
type Pace struct {
	ended time.Time
	turns int
}

// Rest ends a turn that began then. The first turns after a pause are taken at once; the more have followed each other, the
// longer it rests, and what is written meanwhile is one change.
func (p *Pace) Rest(began time.Time) {
	if began.Sub(p.ended) > breath {
		p.turns = 0
	}
	if p.turns++; p.turns > turnsAtOnce {
		time.Sleep(min(time.Duration(p.turns)*time.Since(began), longestRest))
	}
	p.ended = time.Now()
}

// Collecting reads all objects, Translating makes Envoy's configuration of them.
var Collecting, Translating Pace
