// Package place says where one Envoy Gateway of several on a machine listens and finds its certificates.
package place

import (
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
)

var (
	// Control is the address of Envoy Gateway's own servers: xDS, health, metrics.
	Control = required("COMMONPOOL_CONTROL_ADDRESS")
	// Listeners is the address on which Envoy serves the listeners of Gateways.
	Listeners = required("COMMONPOOL_LISTENER_ADDRESS")
	// Certificates is the folder of tls.crt, tls.key and ca.crt.
	Certificates = required("COMMONPOOL_CERTIFICATES")
)

// Service stands for the Service of an Envoy in a cluster: it carries the address into the status of Gateways.
func Service() *corev1.Service {
	return &corev1.Service{
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{
			Ingress: []corev1.LoadBalancerIngress{{IP: Listeners}},
		}},
	}
}

func required(name string) string {
	value := os.Getenv(name)
	if value == "" {
		fmt.Fprintf(os.Stderr, "envoy-gateway: %s is not set; the embedded pool's supervisor sets it\n", name)
		os.Exit(2)
	}
	return value
}

// write puts JSON into a file, whole or not at all.
func write(path string, value any) {
	content, err := json.Marshal(value)
	if err == nil {
		err = os.WriteFile(path+".new", content, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "envoy-gateway: %v\n", err)
	}
}
