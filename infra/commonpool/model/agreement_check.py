"""What must hold of agreements and their statements, and who may not consume what for want of one. Pure but for positions."""

from collections.abc import Iterator
from datetime import date

from commonpool.model.agreement import Agreement
from commonpool.model.department import Department
from commonpool.model.document import Location
from commonpool.model.estate import Estate, needs_exchange
from commonpool.model.problem import Problem
from commonpool.model.service import SharedService
from commonpool.model.sharing_check import ended
from commonpool.model.standing import fault
from commonpool.model.statement import Statement
from commonpool.model.subject import Found, Subject, nearest
from commonpool.model.traffic import WITH_REQUESTS

# Rules that an agreement which is not there yet, or not signed by both, mends.
UNDER_WAY = frozenset(("service-not-offered", "agreement-missing", "agreement-unsigned"))
_STATEMENT_RULES = {
    "department": ("statement-party", "only provider and consumer sign"),
    "digest": ("signature-text", "read the text as it is and sign anew with `commonpool agreement sign`"),
    "act": ("statement-reason", "make it anew with --reason"),
    "key": ("signature-key", "declare the key under spec.keys of the department's manifest, or sign with one that is"),
    "at": ("signature-key", "sign with a key that counts on that day"),
    "signature": ("signature-invalid", "sign anew with `commonpool agreement sign`"),
}


def check_agreements(estate: Estate) -> Found:
    """Every problem of all agreements and all statements."""
    for agreement in estate.agreements:
        subject = Subject(estate, f"agreement/{agreement.name}")
        yield from _parties(subject, agreement)
        yield from _object(subject, agreement)
        yield from _term(subject, agreement)
        yield from _volume(subject, agreement)
        yield from _quota(subject, agreement)
        yield from _cost(subject, agreement)
    for name, statement in estate.statements.items():
        yield from _statement(Subject(estate, f"statement/{name}"), statement)


def _parties(subject: Subject, agreement: Agreement) -> Found:
    known = [department.name for department in subject.estate.departments]
    for word, name in zip(("provider", "consumer"), agreement.parties, strict=True):
        if name not in known:
            yield subject.problem(
                ("spec", word), f"there is no department {name!r}", "department-unknown", nearest(name, known)
            )
    if agreement.spec.provider == agreement.spec.consumer:
        yield subject.problem(
            ("spec", "consumer"),
            "an agreement is between two departments",
            "agreement-parties",
            "name the department that receives",
        )


def _object(subject: Subject, agreement: Agreement) -> Found:
    estate, spec = subject.estate, agreement.spec
    if spec.dataset is not None:
        dataset = estate.dataset(spec.dataset)
        if dataset is None:
            known = [one.name for one in estate.datasets]
            fix = nearest(spec.dataset, known)
            yield subject.problem(("spec", "dataset"), f"there is no dataset {spec.dataset!r}", "dataset-unknown", fix)
            return
        if dataset.spec.provider != spec.provider:
            yield _not_theirs(subject, "dataset", dataset.spec.provider, spec.provider)
        if dataset.spec.sharing.class_ == "not-shared":
            yield subject.problem(
                ("spec", "dataset"),
                f"dataset {dataset.name!r} is not shared",
                "agreement-not-shared",
                "nothing can be agreed on while its class is not-shared",
            )
        for index, path in enumerate(spec.items or ()):
            if not dataset.covers(path):
                yield subject.problem(
                    ("spec", "items", index),
                    f"dataset {dataset.name!r} has no item {path!r}",
                    "item-unknown",
                    nearest(path, [item.name for item in dataset.spec.items]),
                )
    name = estate.service_of(agreement)
    service = estate.service(name) if name else None
    if name and service is None and spec.dataset is None:
        known = [one.name for one in estate.services]
        yield subject.problem(
            ("spec", "service"), f"there is no shared service {name!r}", "service-unknown", nearest(name, known)
        )
    if service is not None:
        yield from _service(subject, agreement, service)


def _service(subject: Subject, agreement: Agreement, service: SharedService) -> Found:
    if service.spec.offered_by != agreement.spec.provider and agreement.spec.dataset is None:
        yield _not_theirs(subject, "service", service.spec.offered_by, agreement.spec.provider)
    sharing = service.spec.sharing
    if sharing and sharing.class_ == "not-shared":
        yield subject.problem(
            ("spec", "service"),
            f"service {service.name!r} is not shared",
            "agreement-not-shared",
            "nothing can be agreed on while its class is not-shared",
        )
    protocol = service.spec.endpoint.protocol if service.spec.endpoint else "pods without the proxy"
    rate = agreement.spec.rate
    limited = rate.requests_per_second or rate.concurrent
    if protocol not in WITH_REQUESTS and (needs_exchange(agreement) or limited):
        yield subject.problem(
            ("spec",),
            f"the proxy sees no single calls of {service.name!r} ({protocol}), so it cannot take out fields, count, or keep evidence of them",
            "agreement-protocol",
            "take items and rate out and write evidence: metadata or none",
        )
    elif agreement.spec.items is not None and protocol == "GRPC":
        yield subject.problem(
            ("spec", "items"),
            "fields are taken out of JSON answers; those of GRPC are not JSON",
            "agreement-protocol",
            "take items out",
        )
    total, share = service.spec.limits.total, agreement.spec.rate
    for word, alias in (("requests_per_second", "requestsPerSecond"), ("concurrent", "concurrent")):
        most, wanted = getattr(total, word), getattr(share, word)
        if most and wanted and wanted > most:
            yield subject.problem(
                ("spec", "rate", alias),
                f"{wanted} is more than the {most} that {service.name!r} bears in all",
                "limit-exceeded",
                f"write at most {most}",
            )


def _volume(subject: Subject, agreement: Agreement) -> Found:
    if agreement.spec.rate.requests_per_day and agreement.spec.evidence == "none":
        yield subject.problem(
            ("spec", "evidence"),
            "calls of a day are counted by their records, and none are kept",
            "agreement-volume",
            "write evidence: metadata, or take rate.requestsPerDay out",
        )


def _quota(subject: Subject, agreement: Agreement) -> Found:
    consumer = subject.estate.department(agreement.spec.consumer)
    for index, quota in enumerate(agreement.spec.quota if consumer else ()):
        assert consumer is not None
        namespaces = {one.name: one for one in consumer.spec.namespaces}
        flavors = [one.flavor for one in namespaces[quota.namespace].resources] if quota.namespace in namespaces else []
        if quota.namespace not in namespaces:
            yield subject.problem(
                ("spec", "quota", index, "namespace"),
                f"{consumer.name} has no namespace {quota.namespace!r}",
                "quota-namespace",
                nearest(quota.namespace, list(namespaces)),
            )
        elif quota.flavor not in flavors:
            yield subject.problem(
                ("spec", "quota", index, "flavor"),
                f"namespace {quota.namespace!r} of {consumer.name} gets nothing of {quota.flavor!r} to which this could be added",
                "quota-flavor",
                f"write one of {', '.join(flavors)}",
            )


def _cost(subject: Subject, agreement: Agreement) -> Found:
    """All consumers of a service together pay no more than the whole of it."""
    estate, service = subject.estate, subject.estate.service_of(agreement)
    term, own = agreement.spec.term, agreement.spec.cost.consumer_percent
    others = [
        one
        for one in estate.agreements
        if service
        and one.name != agreement.name
        and estate.service_of(one) == service
        and estate.standings[one.name].state != "terminated"
        and one.spec.term.start <= term.end
        and term.start <= one.spec.term.end
    ]
    sum_ = own + sum(one.spec.cost.consumer_percent for one in others)
    if own and sum_ > 100 and estate.standings[agreement.name].state != "terminated":
        yield subject.problem(
            ("spec", "cost", "consumerPercent"),
            f"with {', '.join(one.name for one in others)} the consumers of {service!r} pay {sum_} % of it",
            "cost-split",
            f"write at most {max(0, 100 - sum_ + own)}",
        )


def _not_theirs(subject: Subject, word: str, owner: str, provider: str) -> Problem:
    return subject.problem(
        ("spec", "provider"),
        f"the {word} is {owner}'s, not {provider}'s",
        "agreement-provider",
        f"write provider: {owner}",
    )


def _term(subject: Subject, agreement: Agreement) -> Found:
    estate, term = subject.estate, agreement.spec.term
    if term.end < term.start:
        yield subject.problem(
            ("spec", "term"),
            f"the term is out of order: start {term.start}, end {term.end}",
            "term-order",
            "put start and end in this order",
        )
    service = estate.service_of(agreement)
    for other in estate.agreements_on(service, agreement.spec.consumer) if service else ():
        over = (
            estate.standings[other.name].state == "terminated" or estate.standings[agreement.name].state == "terminated"
        )
        apart = other.spec.term.end < term.start or term.end < other.spec.term.start
        if other.name < agreement.name and not apart and not over:
            yield subject.problem(
                ("spec", "term"),
                f"agreement {other.name} is about the same service and department in the same time",
                "agreement-overlap",
                f"begin after {other.spec.term.end}, or terminate {other.name}",
            )


def _statement(subject: Subject, statement: Statement) -> Found:
    estate = subject.estate
    agreement = estate.agreement(statement.agreement)
    if agreement is None:
        known = [one.name for one in estate.agreements]
        yield subject.problem(
            ("agreement",),
            f"there is no agreement {statement.agreement!r}",
            "agreement-unknown",
            nearest(statement.agreement, known),
        )
        return
    word, words = fault(statement, agreement, estate.texts[agreement.name], estate.department(statement.department))
    if word:
        rule, fix = _STATEMENT_RULES[word]
        yield subject.problem((word,), words, rule, fix)


def check_consumed(subject: Subject, department: Department, place: Location, service: SharedService) -> Found:
    """Why a department must not list a service at all: nobody ever granted it. What has lapsed is told by `lapses`."""
    estate, sharing = subject.estate, service.spec.sharing
    found = estate.agreements_on(service.name, department.name)
    if estate.serves(service, department) or any(
        estate.standings[one.name].state not in ("draft", "proposed") for one in found
    ):
        return
    if sharing is None and not found:
        yield subject.problem(
            place,
            f"service {service.name!r} does not list {department.name} among its consumers",
            "service-not-offered",
            f"ask {service.spec.offered_by} to add it to consumers.departments, or for an agreement",
        )
    elif sharing and sharing.class_ == "not-shared":
        basis = f" by {sharing.basis.law}, {sharing.basis.article}" if sharing.basis else ""
        yield subject.problem(
            place,
            f"service {service.name!r} is not shared{basis}, until {sharing.exemption_ends}",
            "service-not-shared",
            "take it out of consumes",
        )
    elif found:
        state = estate.standings[found[0].name]
        yield subject.problem(
            place,
            f"service {service.name!r} is granted by agreement, and {state.words(found[0])}",
            "agreement-unsigned",
            f"{state.missing[0]} runs `commonpool agreement sign {found[0].name} --department {state.missing[0]} --key FILE`",
        )
    else:
        yield subject.problem(
            place,
            f"service {service.name!r} is shared conditionally, and there is no agreement between {service.spec.offered_by} and {department.name}",
            "agreement-missing",
            f"ask for one: `commonpool request new NAME --service {service.name} --consumer {department.name}`",
        )


def lapses(estate: Estate) -> Iterator[tuple[Problem, bool]]:
    """What departments list and are granted no longer, or not yet, with whether it is over for good.

    `up` goes on without them, so that one department's lapse stops nobody else's change; `validate` refuses what is over.
    """
    for problem in ended(estate):
        yield problem, True
    for department in estate.departments:
        subject = Subject(estate, f"department/{department.name}")
        for where, name in department.listed():
            service = estate.service(name)
            if service is None or estate.serves(service, department) or estate.terms(name, department.name):
                continue
            latest = _latest(estate, name, department.name)
            if latest is not None:
                state = estate.standings[latest.name]
                over = state.state in ("expired", "terminated")
                fix = "renew it, or take the line out" if over else "nothing to do, or take the line out until then"
                words = f"service {name!r} is not granted any more: {state.words(latest)}"
                if not over:
                    words = f"service {name!r} is not granted at present: {state.words(latest)}"
                yield subject.problem(where, words, f"agreement-{'ended' if over else 'pausing'}", fix), over


def _latest(estate: Estate, service: str, department: str) -> Agreement | None:
    found = estate.agreements_on(service, department)
    return max(found, key=lambda one: date.fromisoformat(one.spec.term.end), default=None)
