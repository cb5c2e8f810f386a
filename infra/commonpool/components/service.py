"""The namespace and the workload of a shared service. Pure."""

from commonpool.components import namespace as namespaces
from commonpool.components import network
from commonpool.components.namespace import Fence
from commonpool.components.rendering import DEPARTMENT, PREFIX, SERVICE, Body, body
from commonpool.model import Estate, SharedService
from commonpool.model.department import Groups


def objects(estate: Estate, service: SharedService) -> list[Body]:
    """The service's namespace, what fences it, who may come in, and what runs there."""
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
    callers = consumers(estate, service)
    return [*namespaces.objects(pool, fence), *network.admission(pool, service, callers), *_workload(estate, service)]


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
