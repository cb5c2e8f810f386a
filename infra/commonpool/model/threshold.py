"""What is told and never refused: Kubernetes' published limits of scale, and what lapsed or is done twice in the estate."""

from datetime import date

from commonpool.model.agreement_check import lapses
from commonpool.model.collection import repeated
from commonpool.model.estate import Estate
from commonpool.model.overdue import overdue

# https://github.com/kubernetes/community/blob/main/sig-scalability/configs-and-limits/thresholds.md
NAMESPACES, NODES = 10_000, 5_000
MOST = 20  # sentences: what a person reads before doing something


def warnings(estate: Estate) -> list[str]:
    """One sentence for each threshold that the estate passes, and for what its people should know; not more than a screen."""
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
    told = [*(str(problem) for problem, _ in lapses(estate)), *repeated(estate), *_owed(estate), *overdue(estate)]
    more = [f"… and {len(told) - MOST} more"] if len(told) > MOST else []
    return [*found, *told[:MOST], *more]


def _owed(estate: Estate) -> list[str]:
    """Data that is to flow back and did not (数据回流)."""
    found = []
    for dataset in estate.datasets:
        flow = dataset.spec.return_flow
        if flow is None:
            continue
        last = date.fromisoformat(flow.delivered or dataset.spec.published)
        late = (estate.day - last).days - flow.every_days
        if late > 0:
            words = f"last on {flow.delivered}" if flow.delivered else "never"
            found.append(
                f"dataset {dataset.name} flows back to the {flow.to} level every {flow.every_days} days; {words}, {late} days late"
            )
    return found
