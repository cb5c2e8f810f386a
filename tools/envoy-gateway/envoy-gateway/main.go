// Envoy Gateway for one machine. What it is built with beside its own sources stands in replacements.yaml.
package main

import (
	"fmt"
	"os"

	"github.com/envoyproxy/gateway/cmd/envoy-gateway/root"
	controllerruntime "sigs.k8s.io/controller-runtime"
)

func main() {
	if err := root.GetRootCommand(nil).ExecuteContext(controllerruntime.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "envoy-gateway:", err)
		os.Exit(1)
	}
}
