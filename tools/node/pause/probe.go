package main

import (
	"net"
	"time"
)

const (
	tries   = 20 // a second each: a network needs a moment to learn of new pods and policies
	patient = time.Second
)

// probe answers by its exit code. `serve ADDRESS` takes connections; `reach ADDRESS` is 0 as soon as one is taken there,
// `shut ADDRESS` is 0 as soon as two in a row are not; both are 1 when that never comes.
func probe(words []string) int {
	if len(words) != 2 {
		return 2
	}
	switch words[0] {
	case "serve":
		return serve(words[1])
	case "reach":
		return until(words[1], true, 1)
	case "shut":
		return until(words[1], false, 2)
	}
	return 2
}

func serve(address string) int {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return 1
	}
	for {
		if connection, err := listener.Accept(); err == nil {
			connection.Close()
		}
	}
}

func until(address string, wanted bool, enough int) int {
	seen := 0
	for try := 0; try < tries; try++ {
		began := time.Now()
		connection, err := net.DialTimeout("tcp", address, patient)
		if err == nil {
			connection.Close()
		}
		if (err == nil) != wanted {
			seen = 0
		} else if seen++; seen == enough {
			return 0
		}
		time.Sleep(patient - time.Since(began))
	}
	return 1
}
