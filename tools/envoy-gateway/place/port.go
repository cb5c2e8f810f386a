package place

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
)

var (
	ports     = map[int32]int32{}
	portsFile = required("COMMONPOOL_PORTS")
	portsLock sync.Mutex
)

func init() {
	// What was decided before a restart holds on: Envoy serves on it now, so it would look taken.
	if content, err := os.ReadFile(portsFile); err == nil {
		if err := json.Unmarshal(content, &ports); err != nil {
			fmt.Fprintf(os.Stderr, "envoy-gateway: %s: %v\n", portsFile, err)
			os.Exit(2)
		}
	}
}

// Port is where a declared port is served: on itself, unless another program holds it on all addresses or only root may
// have it. Decided at the first question and kept in a file, for whoever tells people where to call.
func Port(declared int32) int32 {
	portsLock.Lock()
	defer portsLock.Unlock()
	if port, known := ports[declared]; known {
		return port
	}
	port := free(declared)
	ports[declared] = port
	write(portsFile, ports)
	return port
}

func free(declared int32) int32 {
	for _, port := range []int32{declared, 0} {
		listener, err := net.Listen("tcp4", net.JoinHostPort(Listeners, fmt.Sprint(port)))
		if err != nil {
			continue
		}
		defer listener.Close()
		return int32(listener.Addr().(*net.TCPAddr).Port)
	}
	return declared
}
