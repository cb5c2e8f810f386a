"""What must hold of a shared service in its estate. Pure but for positions."""

from commonpool.model.estate import Estate
from commonpool.model.problem import shown
from commonpool.model.service import SharedService
from commonpool.model.subject import Found, Subject, nearest


def check_service(estate: Estate, service: SharedService) -> Found:
    """Every problem of one manifest."""
    subject = Subject(estate, f"service/{service.name}")
    departments = [department.name for department in estate.departments]
    flavors = [flavor.name for flavor in estate.pool.spec.compute.flavors]
    if service.spec.offered_by not in departments:
        yield subject.problem(
            ("spec", "offeredBy"),
            f"there is no department {service.spec.offered_by!r}",
            "department-unknown",
            nearest(service.spec.offered_by, departments),
        )
    for index, name in enumerate(service.spec.consumers.departments):
        if name not in departments:
            yield subject.problem(
                ("spec", "consumers", "departments", index),
                f"there is no department {name!r}",
                "department-unknown",
                nearest(name, departments),
            )
    for index, item in enumerate(service.spec.namespace.resources):
        if item.flavor not in flavors:
            yield subject.problem(
                ("spec", "namespace", "resources", index, "flavor"),
                f"there is no flavor {item.flavor!r}",
                "flavor-unknown",
                nearest(item.flavor, flavors),
            )
    if service.spec.duty.phone is None:
        yield subject.problem(("spec", "duty"), "the duty contact has no phone", "contact-phone", "add phone:")
    workload = service.spec.workload
    registries = estate.pool.spec.security.registries
    if workload and not any(workload.image.startswith(f"{registry}/") for registry in registries):
        yield subject.problem(
            ("spec", "workload", "image"),
            f"{shown(workload.image)} is not inside the pool's registries",
            "registry-foreign",
            f"write one inside {', '.join(registries)}",
        )
