"""What is told and never refused: Kubernetes' published limits of scale, and what lapsed or is done twice in the estate."""

from datetime import date

from commonpool.model.agreement_check import lapses
from commonpool.model.collection import repeated
from commonpool.model.estate import Estate
from commonpool.model.overdue import overdue

# https://github.com/kubernetes/community/blob/main/sig-scalability/configs-and-limits/thresholds.md
NAMESPACES, NODES = 10_000, 5_000
STORE = 8 << 30  # bytes; the most that etcd advises
# Of a ConfigMap or Secret, which Kubernetes bounds, and of any other object, which an admission rule does.
_LARGEST, _LARGE = 1 << 20, 128 << 10
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
    told = [*_unknown_years(estate), *_filling(estate), *told]
    more = [f"… and {len(told) - MOST} more"] if len(told) > MOST else []
    return [*found, *told[:MOST], *more]


def _filling(estate: Estate) -> list[str]:
    """Namespaces whose limits alone would let them fill the store, and then nobody writes any more."""
    limited = [
        (name, one.objects, department.name, "spec.namespaces.objects")
        for department in estate.departments
        for name, one in department.namespaces()
    ]
    limited += [
        (one.namespace_name, one.spec.namespace.objects, one.spec.offered_by, "spec.namespace.objects")
        for one in estate.services
    ]
    found = []
    for name, limits, department, place in limited:
        large = limits.config_maps + limits.secrets
        # Of finished pods twenty to one that runs are kept, of a Deployment ten ReplicaSets of its past, and so on.
        small = 21 * limits.pods + 25 * (limits.deployments + limits.stateful_sets) + limits.jobs + limits.services
        most = large * _LARGEST + small * _LARGE
        if most > STORE:
            found.append(
                f"namespace {name} may hold objects of {most >> 30:,} GiB, and the store has {STORE >> 30}; a full store stops"
                f" everybody: let {department} ask for as many as it needs ({place})"
            )
    return found


def _unknown_years(estate: Estate) -> list[str]:
    """Years into which a clock runs, or in which this day lies, and whose holidays nobody wrote down."""
    clocks = {f"request {one.name}": estate.request_clock(one) for one in estate.requests}
    clocks |= {f"correction {one.name}": estate.correction_clock(one) for one in estate.corrections}
    running = {name: one.due for name, one in clocks.items() if one.state in ("open", "overdue")}
    years: dict[int, list[str]] = {} if estate.holidays.knows(estate.day) else {estate.day.year: []}
    for name, due in running.items():
        if due.provisional:
            years.setdefault(due.day.year, []).append(name)
    return [
        f"the holidays of {year} are not known, so Monday to Friday are counted"
        + (f" for {', '.join(names)}" if names else "")
        + f"; write the year into holidays.yaml of the estate, from 国务院办公厅关于{year}年部分节假日安排的通知"
        for year, names in sorted(years.items())
    ]


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
                f"dataset {dataset.name} flows back to the {flow.to} level every {_days(flow.every_days)}; {words}, {_days(late)} late"
            )
    return found


def _days(number: int) -> str:
    return f"{number} day{'' if number == 1 else 's'}"
