package network

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/knftables"
)

// One table on each node, written anew as a whole in one transaction. A packet that a pod on this node sends or gets passes
// the pod's own chain for that direction, if any policy isolates it; there it is accepted by a rule or dropped at the end.
const table = "commonpool-policy"

const proxyNamespace = "commonpool-proxy"

type enforcer struct {
	nft  knftables.Interface
	pods string // addresses of all pods: what a pod sends elsewhere carries the address of its node
	last string
}

func newEnforcer(pods string) (*enforcer, error) {
	nft, err := knftables.New(knftables.InetFamily, table)
	if err != nil {
		return nil, err
	}
	return &enforcer{nft: nft, pods: pods}, nil
}

// set writes the table when what is wanted differs from what was last written, or always when forced.
func (e *enforcer) set(ctx context.Context, look view, force bool) error {
	wanted, err := chains(look)
	if err != nil {
		return err
	}
	own := ""
	if node, err := look.nodes.Get(look.node); err == nil {
		own = node.Spec.PodCIDR
	}
	lines := []string{own}
	for _, one := range wanted {
		lines = append(lines, one.name, one.match)
		lines = append(lines, one.rules...)
	}
	text := strings.Join(lines, "\n")
	if text == e.last && !force {
		return nil
	}
	tx := e.nft.NewTransaction()
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("NetworkPolicies of the embedded pool")})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("NetworkPolicies of the embedded pool")})
	hook, priority := knftables.ForwardHook, knftables.FilterPriority
	filter := knftables.FilterType
	tx.Add(&knftables.Chain{Name: "forward", Type: &filter, Hook: &hook, Priority: &priority})
	tx.Add(&knftables.Rule{Chain: "forward", Rule: "ct state established,related accept"})
	if own != "" {
		after, source, nat := knftables.PostroutingHook, knftables.SNATPriority, knftables.NATType
		tx.Add(&knftables.Chain{Name: "postrouting", Type: &nat, Hook: &after, Priority: &source})
		tx.Add(&knftables.Rule{Chain: "postrouting", Rule: "ip saddr " + own + " ip daddr != " + e.pods + " masquerade"})
	}
	// Egress first: a packet that both ends isolate must pass both. A chain returns what it lets through.
	for _, one := range wanted {
		tx.Add(&knftables.Chain{Name: one.name})
		for _, rule := range one.rules {
			tx.Add(&knftables.Rule{Chain: one.name, Rule: rule + " counter return"})
		}
		tx.Add(&knftables.Rule{Chain: one.name, Rule: "counter drop"})
		tx.Add(&knftables.Rule{Chain: "forward", Rule: one.match + " jump " + one.name})
	}
	if err := e.nft.Run(ctx, tx); err != nil {
		return err
	}
	e.last = text
	return nil
}

type chain struct {
	name, match string
	rules       []string
}

// chains are those of the isolated pods of this node. Pure but for the listers.
func chains(look view) ([]chain, error) {
	pods, err := look.pods.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	policies, err := look.policies.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	var egress, ingress []chain
	for _, pod := range pods {
		if pod.Spec.NodeName != look.node || !reachable(pod) {
			continue
		}
		var in, out *chain
		for _, policy := range policies {
			selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
			if err != nil || policy.Namespace != pod.Namespace || !selector.Matches(labels.Set(pod.Labels)) {
				continue
			}
			if slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
				in = orNew(in, "in", "ip daddr", pod)
				for _, rule := range policy.Spec.Ingress {
					in.rules = append(in.rules, combine(look.peers(policy.Namespace, rule.From, "ip saddr", pods), ports(rule.Ports, []*corev1.Pod{pod}))...)
				}
			}
			if slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
				out = orNew(out, "out", "ip saddr", pod)
				for _, rule := range policy.Spec.Egress {
					out.rules = append(out.rules, combine(look.peers(policy.Namespace, rule.To, "ip daddr", pods), ports(rule.Ports, pods))...)
				}
			}
		}
		if out != nil {
			egress = append(egress, *out)
		}
		if in != nil {
			ingress = append(ingress, *in)
		}
	}
	found := append(egress, ingress...)
	slices.SortStableFunc(found, func(a, b chain) int { return -strings.Compare(a.name, b.name) }) // out- before in-
	return found, nil
}

func reachable(pod *corev1.Pod) bool {
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	return pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !ended && !strings.Contains(pod.Status.PodIP, ":")
}

// belongs tells whether a pod's address lies in the block of its machine. The machine says it, and by another one's address
// whoever has that would be let in everywhere as this pod.
func (look view) belongs(pod *corev1.Pod) bool {
	node, err := look.nodes.Get(pod.Spec.NodeName)
	if err != nil {
		return false
	}
	_, block, err := net.ParseCIDR(node.Spec.PodCIDR)
	return err == nil && block.Contains(net.ParseIP(pod.Status.PodIP))
}

func orNew(known *chain, direction, field string, pod *corev1.Pod) *chain {
	if known != nil {
		return known
	}
	return &chain{
		name:  direction + "-" + strings.ReplaceAll(pod.Status.PodIP, ".", "-"),
		match: field + " " + pod.Status.PodIP,
	}
}

// peers are matches of which one must hold; a rule that names nobody means everybody.
func (look view) peers(namespace string, named []networkingv1.NetworkPolicyPeer, field string, pods []*corev1.Pod) []string {
	if len(named) == 0 {
		return []string{""}
	}
	matches := []string{}
	for _, peer := range named {
		if peer.IPBlock != nil {
			match := field + " " + peer.IPBlock.CIDR
			if len(peer.IPBlock.Except) > 0 {
				match += fmt.Sprintf(" %s != { %s }", field, strings.Join(peer.IPBlock.Except, ", "))
			}
			if !strings.Contains(peer.IPBlock.CIDR, ":") {
				matches = append(matches, match)
			}
			continue
		}
		addresses := []string{}
		for _, pod := range pods {
			if reachable(pod) && look.belongs(pod) && look.selects(namespace, peer, pod) {
				addresses = append(addresses, pod.Status.PodIP)
			}
		}
		if look.selectsProxy(peer) {
			addresses = append(addresses, look.proxies...)
		}
		if len(addresses) > 0 {
			slices.Sort(addresses)
			matches = append(matches, fmt.Sprintf("%s { %s }", field, strings.Join(slices.Compact(addresses), ", ")))
		}
	}
	return matches
}

func (look view) selects(namespace string, peer networkingv1.NetworkPolicyPeer, pod *corev1.Pod) bool {
	if peer.NamespaceSelector == nil {
		if pod.Namespace != namespace {
			return false
		}
	} else {
		selector, err := metav1.LabelSelectorAsSelector(peer.NamespaceSelector)
		space, missing := look.namespaces.Get(pod.Namespace)
		if err != nil || missing != nil || !selector.Matches(labels.Set(space.Labels)) {
			return false
		}
	}
	if peer.PodSelector == nil {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(peer.PodSelector)
	return err == nil && selector.Matches(labels.Set(pod.Labels))
}

// selectsProxy tells whether a peer means the service proxy: it stands for pods of the proxy's namespace.
func (look view) selectsProxy(peer networkingv1.NetworkPolicyPeer) bool {
	proxy := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: proxyNamespace,
		Labels:    map[string]string{"gateway.envoyproxy.io/owning-gatewayclass": "commonpool"},
	}}
	return peer.NamespaceSelector != nil && look.selects("", peer, proxy)
}

// ports are matches of which one must hold; named ports are those of the pods that the packet may go to.
func ports(named []networkingv1.NetworkPolicyPort, targets []*corev1.Pod) []string {
	if len(named) == 0 {
		return []string{""}
	}
	matches := []string{}
	for _, port := range named {
		protocol := "tcp"
		if port.Protocol != nil {
			protocol = strings.ToLower(string(*port.Protocol))
		}
		switch {
		case port.Port == nil:
			matches = append(matches, "meta l4proto "+protocol)
		case port.Port.Type == intstr.Int && port.EndPort != nil:
			matches = append(matches, fmt.Sprintf("%s dport %d-%d", protocol, port.Port.IntVal, *port.EndPort))
		case port.Port.Type == intstr.Int:
			matches = append(matches, fmt.Sprintf("%s dport %d", protocol, port.Port.IntVal))
		default:
			for _, number := range numbers(port.Port.StrVal, protocol, targets) {
				matches = append(matches, fmt.Sprintf("%s dport %d", protocol, number))
			}
		}
	}
	return matches
}

func numbers(name, protocol string, pods []*corev1.Pod) []int32 {
	found := []int32{}
	for _, pod := range pods {
		for _, container := range pod.Spec.Containers {
			for _, port := range container.Ports {
				if port.Name == name && strings.EqualFold(string(port.Protocol), protocol) {
					found = append(found, port.ContainerPort)
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// combine is every peer with every port; nothing when either is empty, since nobody was selected.
func combine(peers, ports []string) []string {
	rules := []string{}
	for _, peer := range peers {
		for _, port := range ports {
			rules = append(rules, strings.TrimSpace(peer+" "+port))
		}
	}
	return rules
}
