"""The namespace of a shared service, its workload, and its way through the proxy. Pure."""

from collections.abc import Mapping

from commonpool.components import agreement, backend, envoy_gateway, gateway, names, network
from commonpool.components import namespace as namespaces
from commonpool.components.backend import StandIns
from commonpool.components.envoy_gateway import fleet, policy
from commonpool.components.namespace import Fence
from commonpool.components.rendering import DEPARTMENT, PREFIX, SERVICE, Body, body
from commonpool.model import Estate, SharedService
from commonpool.model.department import Groups


def objects(
    estate: Estate,
    service: SharedService,
    *,
    stand_ins: StandIns | None = None,
    weights: Mapping[str, int] | None = None,
) -> list[Body]:
    """The service's namespace, what fences it, who may come in, what runs there, and how the proxy leads to it.

    `stand_ins` say where machines are played on this one; `weights` are the backends' shares of the moment, where they
    are not the declared ones.
    """
    pool = estate.pool
    name = service.namespace_name
    owner = estate.department(service.spec.offered_by)
    fence = Fence(
        name=name,
        resources=service.spec.namespace.resources,
        storage=service.spec.namespace.storage,
        objects=service.spec.namespace.objects,
        groups=owner.spec.groups if owner else Groups(admin=[service.spec.offered_by]),
        registries=[],
        labels={
            SERVICE: service.name,
            DEPARTMENT: service.spec.offered_by,
            **namespaces.protection_labels(
                service.spec.namespace.environment, service.spec.business_class, service.spec.protection_level
            ),
        },
        annotations={
            f"{PREFIX}/duty": f"{service.spec.duty.role} {service.spec.duty.phone}",
            f"{PREFIX}/description": service.spec.description,
        },
    )
    return [
        *namespaces.objects(pool, fence),
        *network.admission(pool, service, consumers(estate, service)),
        *_workload(estate, service),
        *agreement.objects(estate, service),
        *exposure(estate, service, stand_ins or {}, weights),
    ]


def exposure(
    estate: Estate, service: SharedService, stand_ins: StandIns, weights: Mapping[str, int] | None = None
) -> list[Body]:
    """Backends, policies and routes of a service with an endpoint; the routes last, so that nothing is open before it is fenced."""
    if service.spec.endpoint is None or estate.pool.spec.network.proxy is None:
        return []
    shares = _declared_shares(service) | dict(weights or {})
    references: list[Body] = []
    if service.spec.notice is None:
        references = gateway.weighted(service, backend.references(estate, service, stand_ins), shares)
    found = backend.objects(estate, service, stand_ins)
    if gateway.is_seen(service):
        found += [
            *envoy_gateway.filters(estate.pool, service),
            *policy.objects(estate, service),
            *gateway.routes(estate, service, references),
            *names.objects(estate, service),
        ]
    elif references:
        found += [
            fleet.tcp_clients(estate.pool, service),
            fleet.tcp_endings(estate.pool, service, agreement.ended(estate, service)),
            *policy.objects(estate, service),
            *gateway.passthrough(estate, service, references),
            *names.objects(estate, service),
        ]
    return [gateway.labelled(one, service) for one in found]


def _declared_shares(service: SharedService) -> dict[str, int]:
    """The weights of the manifest; under a plan that has not begun, all of it where the plan starts."""
    plan = service.spec.cut_over
    declared = {one.name: one.weight for one in service.spec.backends}
    return declared | ({plan.from_: 100, plan.to: 0} if plan else {})


def consumers(estate: Estate, service: SharedService) -> list[str]:
    """The namespaces that declare that they use it."""
    return [name for names in estate.consumers.get(service.name, {}).values() for name in names]


def _workload(estate: Estate, service: SharedService) -> list[Body]:
    workload = service.spec.workload
    if workload is None:
        return []
    pool, namespace = estate.pool, service.namespace_name
    selector = {"app.kubernetes.io/name": service.name}
    amount = {"cpu": str(workload.resources.cpu), "memory": str(workload.resources.memory)}
    container: Body = {
        "name": service.name,
        "image": workload.image,
        "ports": [
            {"name": port.name, "containerPort": port.port, "protocol": port.protocol} for port in workload.ports
        ],
        "resources": {"requests": amount, "limits": amount},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if workload.command:
        container["command"] = list(workload.command)
    if workload.environment:
        container["env"] = [{"name": key, "value": value} for key, value in sorted(workload.environment.items())]
    template: Body = {
        "metadata": {"labels": selector},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }
    spec = {"replicas": workload.replicas, "selector": {"matchLabels": selector}, "template": template}
    ports = [
        {"name": port.name, "port": port.port, "targetPort": port.name, "protocol": port.protocol}
        for port in workload.ports
    ]
    return [
        body("apps/v1", "Deployment", service.name, pool, namespace=namespace, spec=spec),
        body("v1", "Service", service.name, pool, namespace=namespace, spec={"selector": selector, "ports": ports}),
    ]
