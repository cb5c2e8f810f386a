"""Where a service runs, as objects that a route can refer to. Pure.

Machines become a Service without a selector and an EndpointSlice, which every implementation of the Gateway API understands.
What those cannot say (stepping in for others, another pool, a stand-in on loopback) is `envoy_gateway.backend`.
"""

import ipaddress
from collections.abc import Mapping, Sequence

from commonpool.components import envoy_gateway
from commonpool.components.gateway import GATEWAY
from commonpool.components.rendering import STAND_IN, Body, body
from commonpool.model import Estate, Pool, SharedService
from commonpool.model.backend import Backend, BackendTls
from commonpool.model.service import ServicePort

StandIns = Mapping[str, str]  # "<machine>:<port>", or "<service>/pods:<port>", to "<address>:<port>"


def objects(estate: Estate, service: SharedService, stand_ins: StandIns) -> list[Body]:
    """Every backend's objects, those of TLS after what they are about."""
    found = []
    for backend in service.spec.backends:
        if not backend.peer and needs_own_kind(service, backend, stand_ins):
            addresses = endpoints(estate, service, backend, stand_ins)
            own = envoy_gateway.backend(estate.pool, service, backend, addresses)
            played = [key for key in keys(service, backend) if key in stand_ins]
            if played:
                own["metadata"]["annotations"] = {STAND_IN: ", ".join(played)}
            found.append(own)
        elif backend.machines:
            found += _service(estate, service, backend)
        elif backend.peer:
            found += envoy_gateway.peer(estate.pool, service, backend)
        if backend.tls:
            found += _tls(estate.pool, service, backend, backend.tls, stand_ins)
    return found


def references(estate: Estate, service: SharedService, stand_ins: StandIns) -> dict[str, Body]:
    """How routes refer to each backend, by its name."""
    found = {}
    for backend in service.spec.backends:
        if backend.pods and not needs_own_kind(service, backend, stand_ins):
            found[backend.name] = {"kind": "Service", "name": service.name, "port": pods_port(service, backend)}
        elif needs_own_kind(service, backend, stand_ins):
            found[backend.name] = envoy_gateway.backend_reference(object_name(service, backend))
            if backend.peer:
                host = envoy_gateway.peer_host(estate.pool, backend)
                rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": host}}
                found[backend.name] |= {"filters": [rewrite]}
        else:
            found[backend.name] = {"kind": "Service", "name": object_name(service, backend), "port": backend.port}
    return found


def needs_own_kind(service: SharedService, backend: Backend, stand_ins: StandIns) -> bool:
    """Whether a Service cannot express this backend."""
    stands_in = any(key in stand_ins for key in keys(service, backend))
    return backend.peer is not None or (backend.priority > 0 and not backend.pods) or stands_in


def keys(service: SharedService, backend: Backend) -> list[str]:
    """By what stand-ins for it are named."""
    machines = [f"{machine}:{backend.port}" for machine in backend.machines]
    return [*machines, pods_key(service, backend)] if backend.pods else machines


def pods_key(service: SharedService, backend: Backend) -> str:
    """By what a stand-in for its pods is named."""
    return f"{service.name}/pods:{pods_port(service, backend)}"


def pods_port(service: SharedService, backend: Backend) -> int:
    """The port of the service's pods."""
    return backend.port or _first_port(service).port


def object_name(service: SharedService, backend: Backend) -> str:
    """The name of a backend's objects."""
    return f"{service.name}-{backend.name}"


def endpoints(estate: Estate, service: SharedService, backend: Backend, stand_ins: StandIns) -> list[tuple[str, int]]:
    """Address and port of each of its machines, or of what stands in for them, or for its pods."""
    if backend.pods:
        address, _, port = stand_ins[pods_key(service, backend)].rpartition(":")
        return [(address, int(port))]
    found = []
    for name in backend.machines:
        machine = estate.machine(name)
        other = stand_ins.get(f"{name}:{backend.port}", "")
        address, _, port = other.rpartition(":")
        if address:
            found.append((address, int(port)))
        elif machine is not None:
            found.append((machine.address, backend.port or 0))
    return found


def _service(estate: Estate, service: SharedService, backend: Backend) -> list[Body]:
    name, namespace, pool = object_name(service, backend), service.namespace_name, estate.pool
    addresses = [address for address, _ in endpoints(estate, service, backend, {})]
    port: Body = {"name": "main", "port": backend.port, "protocol": "TCP"}
    if service.spec.endpoint and service.spec.endpoint.protocol == "GRPC":
        port["appProtocol"] = "kubernetes.io/h2c"
    found = [
        body("v1", "Service", name, pool, namespace=namespace, spec={"ports": [port | {"targetPort": backend.port}]})
    ]
    for version in (4, 6):
        of_version = [address for address in addresses if ipaddress.ip_address(address).version == version]
        if not of_version:
            continue
        slice_ = body(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            name if version == 4 else f"{name}-6",
            pool,
            namespace=namespace,
            addressType=f"IPv{version}",
            ports=[port],
            endpoints=[{"addresses": [address], "conditions": {"ready": True}} for address in of_version],
        )
        slice_["metadata"]["labels"] |= {
            "kubernetes.io/service-name": name,
            "endpointslice.kubernetes.io/managed-by": "commonpool",
        }
        found.append(slice_)
    return found


def _tls(pool: Pool, service: SharedService, backend: Backend, tls: BackendTls, stand_ins: StandIns) -> Sequence[Body]:
    name, namespace = object_name(service, backend), service.namespace_name
    found = []
    validation: Body = {"hostname": tls.server_name}
    if tls.certificate_authority:
        found.append(
            body("v1", "ConfigMap", f"{name}-ca", pool, namespace=namespace, data={"ca.crt": tls.certificate_authority})
        )
        validation["caCertificateRefs"] = [{"group": "", "kind": "ConfigMap", "name": f"{name}-ca"}]
    else:
        validation["wellKnownCACertificates"] = "System"
    target: Body = {"group": "", "kind": "Service", "name": service.name if backend.pods else name}
    if needs_own_kind(service, backend, stand_ins):
        target = {"group": envoy_gateway.GROUP, "kind": "Backend", "name": name}
    spec = {"targetRefs": [target], "validation": validation}
    return [*found, body(GATEWAY, "BackendTLSPolicy", name, pool, namespace=namespace, spec=spec)]


def _first_port(service: SharedService) -> ServicePort:
    workload = service.spec.workload
    assert workload is not None  # `backend_check` has seen to it
    return next(port for port in workload.ports if port.protocol == "TCP")
