// The control plane of the embedded pool in one binary: the first argument names the component.
// etcd and KWOK have binaries of their own: each process then maps only what it runs. The controller manager and the
// scheduler share a process, as both are small beside the program that they are mapped with.
package main

import (
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"

	"commonpool.dev/tools/kubernetes/idle"
	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	logs "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const controllers = "kube-controllers"

var components = map[string]func() *cobra.Command{
	"kube-apiserver": apiserver.NewAPIServerCommand,
	"kubectl":        kubectl.NewDefaultKubectlCommand,
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	go idle.Watch()
	if os.Args[1] == controllers {
		os.Exit(runControllers(os.Args[2:]))
	}
	command, known := components[os.Args[1]]
	if !known {
		usage()
	}
	os.Args = os.Args[1:]
	os.Exit(cli.Run(command()))
}

// runControllers runs the controller manager with the words before "--" and the scheduler with those after it, until
// one of the two ends.
func runControllers(words []string) int {
	border := slices.Index(words, "--")
	if border < 0 {
		usage()
	}
	logs.ReapplyHandling = logs.ReapplyHandlingIgnoreUnchanged
	manager, planner := controllermanager.NewControllerManagerCommand(), scheduler.NewSchedulerCommand()
	manager.SetArgs(words[:border])
	planner.SetArgs(words[border+1:])
	ended := make(chan int)
	for _, command := range []*cobra.Command{manager, planner} {
		go func() { ended <- cli.Run(command) }()
	}
	return <-ended
}

func usage() {
	names := []string{controllers + " FLAGS -- FLAGS"}
	for name := range components {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "usage: kubernetes {%s} [flags]\n", strings.Join(names, "|"))
	os.Exit(2)
}
