"""What must hold of requests, corrections and progress in their estate. Pure but for positions."""

from collections.abc import Sequence

from commonpool.model.estate import Estate
from commonpool.model.problem import Problem
from commonpool.model.request import SharingRequest
from commonpool.model.subject import Found, Subject, nearest


def check_requests(estate: Estate) -> Found:
    """Every problem of all requests, corrections and milestones."""
    for request in estate.requests:
        subject, spec = Subject(estate, f"request/{request.name}"), request.spec
        yield from _known(subject, ("spec", "consumer"), "department", spec.consumer)
        if spec.dataset:
            yield from _known(subject, ("spec", "dataset"), "dataset", spec.dataset)
        if spec.service:
            yield from _known(subject, ("spec", "service"), "service", spec.service)
        for index, code in enumerate(spec.collects):
            elements = estate.dictionary.elements if estate.dictionary else {}
            if code not in elements:
                yield subject.problem(
                    ("spec", "collects", index),
                    f"the dictionary has no element {code!r}",
                    "element-unknown",
                    nearest(code, elements),
                )
        if spec.items is not None and spec.decision is None:  # what is answered is history
            yield from _items(subject, request, spec.items)
        if spec.decision and spec.decision.agreement:
            yield from _known(subject, ("spec", "decision", "agreement"), "agreement", spec.decision.agreement)
        if spec.decision and spec.decision.day < spec.submitted:
            yield _before(subject, ("spec", "decision", "day"), "answer")
    yield from _corrections(estate)
    yield from _progress(estate)


def _items(subject: Subject, request: SharingRequest, items: Sequence[str]) -> Found:
    """Single items are there, and can be given without the others: else nobody could grant what is asked for."""
    estate, spec = subject.estate, request.spec
    dataset = estate.dataset(spec.dataset) if spec.dataset else None
    for index, path in enumerate(items if dataset else ()):
        if dataset and not dataset.covers(path):
            yield subject.problem(
                ("spec", "items", index),
                f"dataset {dataset.name!r} has no item {path!r}",
                "item-unknown",
                nearest(path, [item.name for item in dataset.spec.items]),
            )
    service = estate.service((dataset.spec.service if dataset else spec.service) or "")
    endpoint = service.spec.endpoint if service else None
    if service and (endpoint is None or endpoint.protocol != "HTTP"):
        protocol = endpoint.protocol if endpoint else "pods without the proxy"
        yield subject.problem(
            ("spec", "items"),
            f"single items cannot be had of {service.name!r} ({protocol}): only JSON answers over HTTP have fields that are taken out",
            "agreement-protocol",
            "take items out, and say in purpose which of them are needed",
        )


def _corrections(estate: Estate) -> Found:
    for correction in estate.corrections:
        subject, spec = Subject(estate, f"correction/{correction.name}"), correction.spec
        yield from _known(subject, ("spec", "foundBy"), "department", spec.found_by)
        yield from _known(subject, ("spec", "dataset"), "dataset", spec.dataset)
        dataset = estate.dataset(spec.dataset)
        if dataset is not None and not dataset.covers(spec.item):
            yield subject.problem(
                ("spec", "item"),
                f"dataset {dataset.name!r} has no item {spec.item!r}",
                "item-unknown",
                nearest(spec.item, [item.name for item in dataset.spec.items]),
            )
        if spec.outcome and spec.outcome.day < spec.submitted:
            yield _before(subject, ("spec", "outcome", "day"), "answer")
        if spec.dispute and (spec.outcome is None or spec.dispute.day < spec.outcome.day):
            yield _before(subject, ("spec", "dispute", "day"), "dispute")


def _progress(estate: Estate) -> Found:
    tickets: dict[str, str] = {}
    for progress in estate.progress:
        subject = Subject(estate, f"progress/{progress.name}")
        yield from _known(subject, ("metadata", "name"), "department", progress.name)
        for index, system in enumerate(progress.spec.systems):
            if system.service:
                yield from _known(subject, ("spec", "systems", index, "service"), "service", system.service)
            for number, milestone in enumerate(system.milestones):
                if milestone.done and milestone.percent not in (0, 100):
                    yield subject.problem(
                        ("spec", "systems", index, "milestones", number, "percent"),
                        f"the milestone is done and only at {milestone.percent} percent",
                        "milestone-percent",
                        "write 100, or take done out",
                    )
        for index, ticket in enumerate(progress.spec.rectifications):
            if ticket.number in tickets:
                yield subject.problem(
                    ("spec", "rectifications", index, "number"),
                    f"ticket {ticket.number} is one of {tickets[ticket.number]} too",
                    "value-duplicate",
                    "correct the wrong one of the two",
                )
            tickets[ticket.number] = progress.name


def _known(subject: Subject, where: tuple[str | int, ...], word: str, name: str) -> Found:
    estate = subject.estate
    known: dict[str, list[str]] = {
        "department": [one.name for one in estate.departments],
        "service": [one.name for one in estate.services],
        "dataset": [one.name for one in estate.datasets],
        "agreement": [one.name for one in estate.agreements],
    }
    if name not in known[word]:
        words = "shared service" if word == "service" else word
        yield subject.problem(where, f"there is no {words} {name!r}", f"{word}-unknown", nearest(name, known[word]))


def _before(subject: Subject, where: tuple[str | int, ...], word: str) -> Problem:
    return subject.problem(
        where, f"the {word} is older than what it is about", "date-order", "correct one of the two days"
    )
