"""Where Kubernetes itself is no longer tested: SIG Scalability's published thresholds. Warned of, never refused."""

from commonpool.model.estate import Estate

# https://github.com/kubernetes/community/blob/main/sig-scalability/configs-and-limits/thresholds.md
NAMESPACES, NODES = 10_000, 5_000


def warnings(estate: Estate) -> list[str]:
    """One sentence for each threshold that the estate passes."""
    namespaces = sum(len(one.spec.namespaces) for one in estate.departments) + len(estate.services)
    found = []
    if namespaces > NAMESPACES:
        found.append(
            f"{namespaces:,} namespaces are beyond the {NAMESPACES:,} that Kubernetes is tested with; split the pool"
        )
    if len(estate.machines) > NODES:
        found.append(
            f"{len(estate.machines):,} machines are beyond the {NODES:,} that Kubernetes is tested with; split the pool"
        )
    return found
