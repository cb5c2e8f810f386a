"""`commonpool policy`: the admission rules, and what they would refuse or refused. Writes nothing."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import FAILED, OK, CommandFailed
from commonpool.cli.output import Output, count
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.engine import Cluster
    from commonpool.engine.kubeconfig import Credentials
    from commonpool.engine.refusals import Refusal
    from commonpool.model import Estate

POD_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True)
class Question:
    """What `explain` was asked."""

    file: Path | None
    namespace: str
    since: str
    audit_log: Path | None


@dataclass(frozen=True)
class Row:
    """One rule's no to one object."""

    rule: str
    action: str
    department: str
    namespace: str
    what: str
    who: str
    message: str
    times: int = 1
    last: str = ""


def list_rules(target: Target, output: Output) -> int:
    """A line for each rule; how it stands only where the cluster runs."""
    from commonpool.components import admission

    pool = target.load().pool
    standing = _standing(target)
    rows = [
        (word, admission.action_of(pool, word), standing.get(word, "absent") if standing else "-", text)
        for word, text in admission.RULES.items()
    ]
    if output.structured:
        names = ("rule", "action", "stands", "refuses")
        output.document("PolicyList", items=[dict(zip(names, row, strict=True)) for row in rows])
        return OK
    output.data(output.table(["rule", "action", "stands", "refuses"], [list(row) for row in rows], left=4))
    return OK


def _standing(target: Target) -> dict[str, str]:
    """The actions of each rule's bindings in the cluster; empty when no cluster answers."""
    from commonpool.engine import Cluster
    from commonpool.engine.error import EngineError

    async def look() -> list[dict[str, Any]]:
        async with await Cluster.connect(target.credentials(), patience=5) as cluster:
            return (await cluster.list_objects("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"))[
                0
            ]

    try:
        found = asyncio.run(look())
    except (CommandFailed, EngineError):
        return {}
    actions: dict[str, set[str]] = {"": set()}
    for one in found:
        actions.setdefault(_word(one["metadata"]["name"]), set()).add(str(one["spec"]["validationActions"][0]).lower())
    return {word: ", ".join(sorted(stands)) for word, stands in actions.items()}


def explain(target: Target, question: Question, output: Output) -> int:
    """Exit code 1 when a rule that denies would refuse what the file declares."""
    if (question.file is None) == (not question.since):
        raise CommandFailed(
            "name a file to try, or --since with a time", code="usage", next_step="commonpool policy explain --since 3d"
        )
    estate = target.load()
    if question.since:
        rows = _of_log(estate, _logs(target, question), _moment(question.since))
        return _print(rows, output, f"no rule refused anything in the last {question.since}", fails=False)
    assert question.file is not None
    with output.working("asking the API server"):
        rows = _of_file(target, estate, question)
    return _print(rows, output, "no rule refuses anything of it", fails=True)


def _print(rows: list[Row], output: Output, nothing: str, *, fails: bool) -> int:
    if output.structured:
        output.document("PolicyExplanation", items=[asdict(row) for row in rows])
    elif not rows:
        output.data(nothing)
    else:
        cells = [
            [
                row.rule,
                row.action,
                row.department,
                f"{row.namespace}/{row.what}".lstrip("/"),
                row.who,
                str(row.times),
                row.last,
            ]
            for row in rows
        ]
        headings = ["rule", "action", "department", "object", "who", "times", "last"]
        kept = [place for place in range(len(headings)) if any(row[place] for row in cells)]
        output.data(
            output.table([headings[place] for place in kept], [[row[place] for place in kept] for row in cells], left=5)
        )
        words = dict.fromkeys((row.rule, row.message) for row in rows)
        output.words("\n" + "\n".join(f"{rule}: {message}" for rule, message in words))
        output.data(f"\n{count(len(rows), 'refusal')}")
    return FAILED if fails and any(row.action == "deny" for row in rows) else OK


# -- the last days


def _moment(text: str) -> datetime:
    from commonpool.engine.duration import seconds

    try:
        span = timedelta(days=float(text[:-1])) if text.endswith("d") else timedelta(seconds=seconds(text))
    except ValueError as error:
        raise CommandFailed(
            f"--since: {text!r} is no span of time", code="usage", next_step="write 3d, 12h or 90m"
        ) from error
    return datetime.now(UTC) - span


def _logs(target: Target, question: Question) -> list[Path]:
    from commonpool.engine.refusals import rotated

    if question.audit_log:
        found = rotated(question.audit_log)
    elif target.embedded:
        from commonpool.embedded import EmbeddedPool

        found = rotated(EmbeddedPool(target.pool).audit_log)
    else:
        raise CommandFailed(
            "a cluster's audit log is a file of its own", code="usage", next_step="name it with --audit-log FILE"
        )
    if not found:
        raise CommandFailed("there is no audit log", code="audit_missing", next_step="commonpool doctor says more")
    return found


def _of_log(estate: "Estate", files: list[Path], since: datetime) -> list[Row]:
    from commonpool.engine.refusals import read

    departments = _departments(estate)
    groups: dict[tuple[str, ...], list[Refusal]] = {}
    for found in read(files, since):
        if not found.tried:
            key = (found.policy, found.action, found.namespace, found.resource, found.name, found.user, found.message)
            groups.setdefault(key, []).append(found)
    rows = []
    for (policy, action, namespace, resource, name, user, message), items in groups.items():
        last = max(item.moment for item in items).isoformat(timespec="seconds")
        rows.append(
            Row(
                _word(policy),
                action,
                departments.get(namespace, "-"),
                namespace,
                f"{resource} {name}".strip(),
                user,
                message,
                len(items),
                last,
            )
        )
    return sorted(rows, key=lambda row: (row.rule, row.department, row.namespace, row.what))


def _departments(estate: "Estate") -> dict[str, str]:
    found = {full: one.name for one in estate.departments for full, _ in one.namespaces()}
    return found | {service.namespace_name: service.spec.offered_by for service in estate.services}


def _word(policy: str) -> str:
    from commonpool.components.admission import rule_of

    return rule_of(policy)


# -- a manifest


def _of_file(target: Target, estate: "Estate", question: Question) -> list[Row]:
    from commonpool.engine import Cluster

    credentials, departments = target.credentials(), _departments(estate)
    prefix = estate.pool.spec.security.identity.groups_prefix

    async def work() -> list[Row]:
        rows: list[Row] = []
        async with await Cluster.connect(credentials) as cluster:
            for body in _bodies(question):
                namespace = body["metadata"].get("namespace", "")
                department = estate.department(departments.get(namespace, ""))
                if department is None:
                    of = f"{body['kind']} {body['metadata']['name']}"
                    raise CommandFailed(
                        f"{of}: no department has a namespace {namespace!r}"
                        if namespace
                        else f"{of} names no namespace",
                        code="namespace_unknown",
                        next_step="name one with --namespace; manifests of an estate are for `commonpool validate FILE`",
                    )
                group = f"{prefix}{department.spec.groups.admin[0]}"
                for one in (body, *_pods(body)):
                    rows += await _tried(cluster, credentials, one, group, department.name, target)
        return rows

    return asyncio.run(work())


def _bodies(question: Question) -> Iterator[dict[str, Any]]:
    import yaml

    assert question.file is not None
    text = sys.stdin.read() if str(question.file) == "-" else question.file.read_text(encoding="utf-8")
    try:
        documents = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]
    except yaml.YAMLError as error:
        raise CommandFailed(f"{question.file}: {error}", code="manifest_invalid") from error
    for document in documents:
        for body in document.get("items") or [document] if isinstance(document, dict) else [document]:
            if not isinstance(body, dict) or not {"apiVersion", "kind", "metadata"} <= body.keys():
                raise CommandFailed(
                    f"{question.file}: not every document is an object of Kubernetes", code="manifest_invalid"
                )
            body["metadata"].setdefault("namespace", question.namespace)
            yield body


def _pods(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a controller would make of it."""
    place: Any = body if body["kind"] in POD_TEMPLATES else None
    for word in POD_TEMPLATES.get(body["kind"], ()):
        place = place.get(word) if isinstance(place, Mapping) else None
    if isinstance(place, Mapping):
        metadata = {
            **(place.get("metadata") or {}),
            "name": body["metadata"]["name"],
            "namespace": body["metadata"]["namespace"],
        }
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": place.get("spec") or {}}


async def _tried(
    cluster: "Cluster", credentials: "Credentials", body: dict[str, Any], group: str, department: str, target: Target
) -> list[Row]:
    """The rules that a dry run in the name of the department's administrators meets."""
    from commonpool.engine.trial import APPLY, ask

    info = await cluster.kind(body["apiVersion"], body["kind"])
    metadata = body["metadata"]
    path = info.url(metadata["namespace"], metadata["name"]) + "?dryRun=All&fieldManager=explain&force=true"
    verdict = await asyncio.to_thread(
        ask, credentials, "PATCH", path, body, kind=APPLY, user="oidc:explain", group=group
    )
    what = f"{body['kind']} {metadata['name']}"
    rows = [
        Row(rule, action, department, metadata["namespace"], what, "", words)
        for rule, action, words in _named(verdict.warnings, "warn")
    ]
    if not verdict.passed:
        found = list(_named((verdict.words,), "deny")) or [(_other(verdict.words), "deny", verdict.words)]
        rows += [Row(rule, action, department, metadata["namespace"], what, "", words) for rule, action, words in found]
    return [*rows, *_noted(target, verdict.audit, department, what)]


def _named(texts: tuple[str, ...], action: str) -> Iterator[tuple[str, str, str]]:
    """(rule, action, words) of Kubernetes' sentences about a ValidatingAdmissionPolicy."""
    for text in texts:
        if "ValidatingAdmissionPolicy '" in text:
            policy = text.split("ValidatingAdmissionPolicy '", 1)[1].split("'", 1)[0]
            yield _word(policy), action, text.rpartition("request: ")[2] or text.rpartition(": ")[2]


def _other(words: str) -> str:
    """Who else refuses: what every cluster has besides our rules."""
    marks = {"PodSecurity": "Pod Security", "exceeded quota": "quota", "cannot": "roles"}
    return next((name for mark, name in marks.items() if mark in words), "the API server")


def _noted(target: Target, number: str, department: str, what: str) -> Iterator[Row]:
    """Rules that only note: the audit log alone tells."""
    if not target.embedded or not number:
        return
    from commonpool.embedded import EmbeddedPool
    from commonpool.engine.refusals import read

    for found in read([EmbeddedPool(target.pool).audit_log], datetime.now(UTC) - timedelta(minutes=5)):
        if found.number == number and found.action == "audit":
            yield Row(_word(found.policy), "audit", department, found.namespace, what, "", found.message)
