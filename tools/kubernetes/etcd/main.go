// etcd, as its own release builds it.
package main

import (
	"os"

	"commonpool.dev/tools/kubernetes/idle"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	go idle.Watch()
	etcdmain.Main(os.Args)
}
