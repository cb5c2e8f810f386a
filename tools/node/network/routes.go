package network

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	networklisters "k8s.io/client-go/listers/networking/v1"
)

// Routes of ours carry this protocol number, so that nobody else's is ever removed.
const protocol = 177

type view struct {
	node       string
	nodes      corelisters.NodeLister
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   networklisters.NetworkPolicyLister
	proxies    []string
}

// setRoutes leads each other node's pods by way of its address; machines that only are simulated have none.
func setRoutes(look view) error {
	nodes, err := look.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	wanted := map[string]net.IP{}
	for _, node := range nodes {
		if node.Name == look.node || node.Labels["commonpool.dev/simulated"] == "true" {
			continue
		}
		address := internalAddress(node)
		if _, _, err := net.ParseCIDR(node.Spec.PodCIDR); err == nil && address != nil {
			wanted[node.Spec.PodCIDR] = address
		}
	}
	existing, err := netlink.RouteListFiltered(
		netlink.FAMILY_V4, &netlink.Route{Protocol: protocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	var problems []error
	for _, route := range existing {
		if route.Dst != nil && wanted[route.Dst.String()].Equal(route.Gw) {
			delete(wanted, route.Dst.String())
			continue
		}
		if err := netlink.RouteDel(&route); err != nil {
			problems = append(problems, fmt.Errorf("remove %v: %w", route.Dst, err))
		}
	}
	for block, address := range wanted {
		_, destination, _ := net.ParseCIDR(block)
		route := &netlink.Route{Dst: destination, Gw: address, Protocol: protocol}
		if err := netlink.RouteReplace(route); err != nil {
			problems = append(problems, fmt.Errorf("%s by way of %s: %w", block, address, err))
		}
	}
	return errors.Join(problems...)
}

func internalAddress(node *corev1.Node) net.IP {
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return net.ParseIP(address.Address)
		}
	}
	return nil
}
