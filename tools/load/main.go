// Load sends requests at a fixed rate, whether or not earlier ones were answered, and prints what came of them as JSON.
//
//	load -rate 2000 -seconds 5 -header 'Host: a.test' http://127.0.0.1:8080/
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

func main() {
	rate := flag.Int("rate", 1000, "requests a second")
	seconds := flag.Float64("seconds", 5, "how long")
	headers := http.Header{}
	flag.Func("header", "`Name: value`, as often as needed", func(text string) error {
		name, value, found := strings.Cut(text, ":")
		if !found {
			return fmt.Errorf("%q is no header", text)
		}
		headers.Set(name, strings.TrimSpace(value))
		return nil
	})
	flag.Parse()
	target := vegeta.Target{Method: http.MethodGet, URL: flag.Arg(0), Header: headers}
	attacker := vegeta.NewAttacker(vegeta.Timeout(10*time.Second), vegeta.HTTP2(false), vegeta.KeepAlive(true))
	pace := vegeta.Rate{Freq: *rate, Per: time.Second}
	var metrics vegeta.Metrics
	during := time.Duration(*seconds * float64(time.Second))
	for result := range attacker.Attack(vegeta.NewStaticTargeter(target), pace, during, "load") {
		metrics.Add(result)
	}
	metrics.Close()
	if err := json.NewEncoder(os.Stdout).Encode(metrics); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
