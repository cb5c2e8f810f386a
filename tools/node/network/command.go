// Package network is the network agent of the embedded pool's nodes: routes to the pods of other nodes, and enforced
// NetworkPolicies. It is made for a flat LAN of test hosts and small rooms; an organisation's own cluster brings its CNI.
package network

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	settle = 100 * time.Millisecond // changes come in bursts; one table for a burst
	repair = 30 * time.Second       // and anew now and then, whatever somebody did to routes and tables
)

// NewCommand is the component.
func NewCommand() *cobra.Command {
	var kubeconfig, node, block string
	var proxies []string
	command := &cobra.Command{
		Use:          "pool-network",
		Short:        "Routes between nodes and NetworkPolicies on this one",
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return run(ctx, kubeconfig, node, block, proxies)
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "the node's own kubeconfig")
	command.Flags().StringVar(&node, "node", "", "name of this node")
	command.Flags().StringVar(&block, "pods", "", "block of addresses that all pods of the cluster have theirs from")
	command.Flags().StringSliceVar(&proxies, "proxy", nil, "addresses of the service proxy, which is no pod in the embedded pool")
	return command
}

func run(ctx context.Context, kubeconfig, node, block string, proxies []string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "commonpool-network"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	nodes := factory.Core().V1().Nodes()
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	for _, informer := range []cache.SharedIndexInformer{
		nodes.Informer(), pods.Informer(), namespaces.Informer(), policies.Informer(),
	} {
		notify := func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { notify() },
			UpdateFunc: func(any, any) { notify() },
			DeleteFunc: func(any) { notify() },
		}); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("no %v from the API server", kind)
		}
	}
	look := view{node, nodes.Lister(), pods.Lister(), namespaces.Lister(), policies.Lister(), proxies}
	return work(ctx, look, changed, block)
}

func work(ctx context.Context, look view, changed <-chan struct{}, block string) error {
	enforcer, err := newEnforcer(block)
	if err != nil {
		return err
	}
	tick := time.NewTicker(repair)
	defer tick.Stop()
	force := true
	for {
		if err := setAddresses(look); err != nil {
			klog.ErrorS(err, "addresses of pods")
		}
		if err := setRoutes(look); err != nil {
			klog.ErrorS(err, "routes")
		}
		if err := enforcer.set(ctx, look, force); err != nil {
			klog.ErrorS(err, "policies")
		}
		force = false
		select {
		case <-ctx.Done():
			return nil // tables stay: a pod must not become reachable because the agent restarts
		case <-changed:
			time.Sleep(settle)
		case <-tick.C:
			force = true
		}
	}
}
