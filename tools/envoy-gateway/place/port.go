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
	// What was decided before a restart holds on as long as Envoy serves by it: its own ports would look taken.
	if content, err := os.ReadFile(portsFile); err == nil {
		if err := json.Unmarshal(content, &ports); err != nil {
			fmt.Fprintf(os.Stderr, "envoy-gateway: %s: %v\n", portsFile, err)
			os.Exit(2)
		}
		giveBack()
	}
}

// giveBack forgets which ports were served on another one, where the declared one is free by now and nobody serves the other.
func giveBack() {
	before := len(ports)
	for declared, port := range ports {
		if declared != port && open(declared) && open(port) {
			delete(ports, declared)
		}
	}
	if len(ports) < before {
		write(portsFile, ports)
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

func open(port int32) bool {
	listener, err := listen(port)
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

func listen(port int32) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort(Listeners, fmt.Sprint(port)))
}

func free(declared int32) int32 {
	for _, port := range []int32{declared, 0} {
		listener, err := listen(port)
		if err != nil {
			continue
		}
		defer listener.Close()
		return int32(listener.Addr().(*net.TCPAddr).Port)
	}
	return declared
}
