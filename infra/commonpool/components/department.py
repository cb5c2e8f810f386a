"""Everything that a department's manifest becomes. Pure."""

from commonpool.components import catalogue, credential, network, roles
from commonpool.components import namespace as namespaces
from commonpool.components.namespace import Fence
from commonpool.components.rendering import DEPARTMENT, PREFIX, Body, body
from commonpool.model import Department, Estate, NamespaceSpec


def objects(estate: Estate, department: Department) -> list[Body]:
    """The department's objects, each Namespace before what lies in it."""
    pool = estate.pool
    found: list[Body] = [catalogue.readers(pool, department)]
    for full_name, spec in department.namespaces():
        found += namespaces.objects(pool, fence(estate, department, full_name, spec))
        found += network.openings(pool, full_name, spec.egress)
        for name in spec.consumes:
            service = estate.service(name)
            if service is not None and estate.grants(service, department):
                found.append(network.consumption(pool, full_name, service))
                found += credential.objects(pool, full_name, service)
        for account in spec.service_accounts:
            found.append(
                body(
                    "v1", "ServiceAccount", account.name, pool, namespace=full_name, automountServiceAccountToken=False
                )
            )
            subject = {"kind": "ServiceAccount", "name": account.name, "namespace": full_name}
            role = roles.ROLES[account.role]
            found.append(namespaces.binding(pool, full_name, f"account-{account.name}", role, [subject]))
    return found


def fence(estate: Estate, department: Department, full_name: str, spec: NamespaceSpec) -> Fence:
    """What one of its namespaces is given."""
    labels = namespaces.protection_labels(spec.environment, spec.business_class, spec.protection_level)
    details, standing = department.spec, department.standing(estate.day)
    return Fence(
        name=full_name,
        resources=estate.resources(department, spec),
        storage=spec.storage,
        objects=spec.objects,
        groups=details.groups,
        registries=spec.registries,
        containers=spec.containers,
        labels={DEPARTMENT: department.name, **labels},
        annotations={
            f"{PREFIX}/department-name": details.display_name,
            f"{PREFIX}/organisation-code": details.organisation.code,
            f"{PREFIX}/filing-number": details.filing.number,
            f"{PREFIX}/budget-item": details.filing.budget_item,
            f"{PREFIX}/review": details.term.review,
            f"{PREFIX}/end": details.term.end,
            f"{PREFIX}/duty": f"{details.contacts.duty.role} {details.contacts.duty.phone}",
            f"{PREFIX}/owner": " ".join(filter(None, (details.contacts.owner.role, details.contacts.owner.email))),
            **{f"{PREFIX}/{word}": text for word in ("description", "source") if (text := getattr(spec, word))},
        },
        notes=len(spec.consumes),
        suspended=spec.suspended or standing != "active",
        reclaimed=standing == "reclaimed",
    )
