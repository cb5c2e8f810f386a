// What every node runs, in one binary: kubelet and kube-proxy; and for the embedded pool's own nodes the network agent.
// The name it is called by, or else the first argument, chooses the component.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"commonpool.dev/tools/node/network"
)

var components = map[string]func() *cobra.Command{
	"kubelet":      func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kube-proxy":   func() *cobra.Command { return proxy.NewProxyCommand() },
	"pool-network": network.NewCommand,
}

func main() {
	if command, known := components[filepath.Base(os.Args[0])]; known {
		os.Exit(cli.Run(command()))
	}
	if len(os.Args) > 1 {
		if command, known := components[os.Args[1]]; known {
			os.Args = os.Args[1:]
			os.Exit(cli.Run(command()))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: node {kubelet|kube-proxy|pool-network} [flags]")
	os.Exit(2)
}
