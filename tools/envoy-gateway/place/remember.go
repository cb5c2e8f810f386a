package place

import "sync"

// More than the rules of several thousand services; beyond it, everything is worked out anew once.
const mostRemembered = 20_000

// Remember keeps what a function made of a text. Envoy Gateway works everything out anew at every change, and parsing the
// same rules of admission again, twice each, was half of that. What is kept is only read.
func Remember[V any](work func(string) (V, error)) func(string) (V, error) {
	known := map[string]V{}
	var lock sync.Mutex
	return func(text string) (V, error) {
		lock.Lock()
		defer lock.Unlock()
		if value, found := known[text]; found {
			return value, nil
		}
		value, err := work(text)
		if err != nil {
			return value, err
		}
		if len(known) == mostRemembered {
			clear(known)
		}
		known[text] = value
		return value, nil
	}
}
