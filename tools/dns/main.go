// CoreDNS with the plugins that a pool's name resolution needs, and no others: no cloud's library comes in.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/rewrite"

	"github.com/coredns/coredns/coremain"
)

func main() {
	// The order in which they answer, as CoreDNS's own plugin.cfg has it.
	dnsserver.Directives = []string{
		"reload", "ready", "health", "errors", "log", "loadbalance", "rewrite", "cache", "kubernetes", "loop", "forward",
	}
	coremain.Run()
}
