"""What `commonpool doctor` looks at: one function for each check, in the order in which they are told.

A check returns (state, words, mend): `well` says what was seen, `ill` what is wrong and how it is mended, `unknown` what
cannot be seen from here. To add one, write the function and name it in `CHECKS`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from commonpool.cli.output import count
from commonpool.cli.report import place
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.embedded import EmbeddedPool
    from commonpool.engine import Cluster
    from commonpool.engine.kubeconfig import Credentials
    from commonpool.engine.trial import Verdict
    from commonpool.model import Estate

State = Literal["well", "ill", "unknown"]
SKEW_SECONDS = 5.0  # Kubernetes' own tokens and leases bear some; the answer's date has whole seconds
TAKEN_IN_SECONDS = 10.0  # a change of a moment ago is on its way
_WRONG_IMAGE = "registry.invalid/doctor/probe:1"


@dataclass(frozen=True)
class Patient:
    """Whose health is asked for."""

    target: Target
    estate: "Estate"
    credentials: "Credentials"

    @property
    def embedded(self) -> "EmbeddedPool | None":
        """The embedded pool, when it is one."""
        from commonpool.embedded import EmbeddedPool

        return EmbeddedPool(self.target.pool) if self.target.embedded else None

    @property
    def namespace(self) -> tuple[str, str] | None:
        """(namespace, administrators' group) of some department, to try things in."""
        prefix = self.estate.pool.spec.security.identity.groups_prefix
        for one in self.estate.departments:
            for full, _ in one.namespaces():
                return full, f"{prefix}{one.spec.groups.admin[0]}"
        return None


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    check: str
    state: State
    words: str
    mend: str = ""


Found = tuple[State, str, str]
Check = Callable[[Patient, "Cluster"], Awaitable[list[Found]]]


async def rules(patient: Patient, cluster: "Cluster") -> list[Found]:
    """Every admission policy and binding stands as the estate declares it, and none is set to less than deny."""
    from commonpool.components.admission import RULES, action_of
    from commonpool.engine.answer import holds

    lost, changed, wanted = [], [], _policies(patient, loopback=False)
    played = {_name(body): body for body in _policies(patient, loopback=True)} if patient.embedded else {}
    for body in wanted:
        live = await cluster.read(body["apiVersion"], body["kind"], "", body["metadata"]["name"])
        if live is None:
            lost.append(_name(body))
        elif not holds(live, body) and not holds(live, played.get(_name(body), body)):
            changed.append(_name(body))
    mend = patient.target.command("up --stack pool --refresh")
    found: list[Found] = [("ill", f"{', '.join(lost)} is missing", mend)] if lost else []
    found += [("ill", f"{', '.join(changed)} is not what the estate declares", mend)] if changed else []
    loose = {word: action_of(patient.estate.pool, word) for word in RULES}
    loose = {word: action for word, action in loose.items() if action != "deny"}
    if loose:
        words = ", ".join(f"{word} stands in {action}" for word, action in loose.items())
        found.append(("ill", words, "set spec.security.admissionPolicies of pool.yaml to deny, or leave it out"))
    return found or [("well", f"{count(len(wanted), 'policy object')} stand as declared, every rule denies", "")]


def _policies(patient: Patient, *, loopback: bool) -> list[dict[str, Any]]:
    """As the estate declares them; in an embedded pool backends may be played on loopback."""
    from commonpool.components import pool as component

    told = replace(patient.estate, exchange=patient.target.exchange("pool"))
    bodies = component.objects(told, simulate=False, loopback=loopback)
    return [body for body in bodies if body["apiVersion"].startswith("admissionregistration.k8s.io/")]


def _name(body: Mapping[str, Any]) -> str:
    return f"{body['kind']} {body['metadata']['name']}"


async def enforcement(patient: Patient, cluster: "Cluster") -> list[Found]:
    """Two things that must be refused are tried, without writing: the API server itself enforces what is declared."""
    if patient.namespace is None:
        return [("unknown", "there is no department to try anything in", "")]
    namespace, group = patient.namespace
    pod = await _ask(patient, "POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", _pod(namespace))
    account = {"automountServiceAccountToken": True}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default?dryRun=All"
    kind = "application/merge-patch+json"
    owned = await _ask(patient, "PATCH", path, account, kind=kind, user="oidc:doctor", group=group)
    found: list[Found] = []
    for words, rule, verdict in (
        ("an image from elsewhere", "registries", pod),
        ("a change of the platform's own", "owned", owned),
    ):
        if any(f"commonpool-{rule}{end}" in verdict.words for end in ("'", ".")):
            found.append(("well", f"{words} is refused by the rule {rule}", ""))
        elif verdict.passed:
            found.append(
                (
                    "ill",
                    f"{words} is let pass: the rule {rule} does not hold",
                    patient.target.command("up --stack pool --refresh"),
                )
            )
        else:
            found.append(("unknown", f"{words} is refused, but not by the rule {rule}: {verdict.words}", ""))
    return found


def _pod(namespace: str) -> dict[str, Any]:
    secure = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    amount = {"cpu": "1m", "memory": "1Mi"}
    container = {
        "name": "probe",
        "image": _WRONG_IMAGE,
        "securityContext": secure,
        "resources": {"requests": amount, "limits": amount},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "doctor-probe", "namespace": namespace},
        "spec": {"containers": [container]},
    }


async def _ask(
    patient: Patient, method: str, path: str, body: Mapping[str, Any] | None = None, **words: str
) -> "Verdict":
    from commonpool.engine.trial import ask

    return await asyncio.to_thread(ask, patient.credentials, method, path, body, **words)


async def fence(patient: Patient, cluster: "Cluster") -> list[Found]:
    """Nobody holds rights in a department's namespace that the estate does not give, and no token there is for ever."""
    from commonpool.components.rendering import FLAVOR

    spaces, _ = await cluster.list_objects("v1", "Namespace", selector=FLAVOR)
    names = {one["metadata"]["name"] for one in spaces}
    bindings, _ = await cluster.list_objects("rbac.authorization.k8s.io/v1", "RoleBinding")
    strange = [
        f"RoleBinding {_place(one)}" for one in bindings if one["metadata"]["namespace"] in names and not _ours(one)
    ]
    tokens, _ = await cluster.list_objects("v1", "Secret", metadata_only=False)
    strange += [
        f"Secret {_place(one)}"
        for one in tokens
        if one["metadata"]["namespace"] in names and one.get("type") == "kubernetes.io/service-account-token"
    ]
    wide, _ = await cluster.list_objects("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")
    strange += [
        f"ClusterRoleBinding {one['metadata']['name']}"
        for one in wide
        if one["roleRef"]["name"] == "cluster-admin" and one["metadata"]["name"] != "cluster-admin"
    ]
    if strange:
        return [
            ("ill", f"{name} gives rights that the estate does not", "delete it, unless you know who needs it")
            for name in strange
        ]
    return [
        (
            "well",
            f"{count(len(names), 'namespace')}: every binding is declared, no token is for ever, nobody else is cluster-admin",
            "",
        )
    ]


def _ours(body: Mapping[str, Any]) -> bool:
    return bool((body["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "commonpool")


def _place(body: Mapping[str, Any]) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


async def drift(patient: Patient, cluster: "Cluster") -> list[Found]:
    """What stands is what was applied."""
    from commonpool.cli import status

    results = await status.drift(patient.target, patient.estate, cluster)
    mend = patient.target.command("up")
    found: list[Found] = [("ill", words, mend) for result in results for words in result.damage]
    changed = [place(change) for result in results for change in result.changes]
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        return [*found, ("ill", f"{', '.join(changed[:5])}{more} drifted", mend)]
    if found:
        return found
    return [("well", "nothing drifted from what was applied", "")]


async def components(patient: Patient, cluster: "Cluster") -> list[Found]:
    """What the embedded pool consists of stays up; a cluster watches over its own."""
    pool = patient.embedded
    if pool is None:
        return []
    found = await asyncio.to_thread(pool.status)
    if found.troubles:
        return [("ill", words, step) for words, step in found.troubles]
    return [("well", f"all of {', '.join(one.name for one in found.components)} stand", "")]


async def proxy(patient: Patient, cluster: "Cluster") -> list[Found]:
    """The proxy has taken in what the estate declares of services: otherwise it goes on serving as before."""
    from commonpool.proxy.complaint import complaints

    deadline = asyncio.get_running_loop().time() + TAKEN_IN_SECONDS
    pool = patient.embedded
    while (
        lines := [*await complaints(cluster), *(pool.refusals() if pool else ())]
    ) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.5)
    mend = (
        "commonpool service show NAME says more; where the proxy has not looked at it, see whether Envoy Gateway runs"
    )
    if lines:
        return [("ill", f"not taken in by the proxy: {line}", mend) for line in lines]
    return [("well", "every route and policy is taken in as declared", "")]


async def clock(patient: Patient, cluster: "Cluster") -> list[Found]:
    """The API server's clock and this machine's agree: tokens, certificates and leases hang on it."""
    before = datetime.now(UTC)
    moment = (await _ask(patient, "GET", "/version")).moment
    if moment is None:
        return [("unknown", "the API server does not say what time it is", "")]
    skew = max(
        (before - moment - timedelta(seconds=1)).total_seconds(), (moment - datetime.now(UTC)).total_seconds(), 0.0
    )
    if skew > SKEW_SECONDS:
        return [
            (
                "ill",
                f"the API server's clock and this one differ by {skew:.0f} s",
                "set both by NTP (chrony, systemd-timesyncd)",
            )
        ]
    return [("well", "the API server's clock and this one agree", "")]


async def certificates(patient: Patient, cluster: "Cluster") -> list[Found]:
    """None of the certificates ends soon: those of the embedded pool, and those that the proxy of any cluster serves with."""
    from commonpool.embedded.certificate import RENEW_BEFORE_DAYS

    pool, now = patient.embedded, datetime.now(UTC)
    ends = await _served_until(patient, cluster)
    if pool is not None:
        # The proxy's own stand among the Secrets, as they are served.
        files = [*pool.layout.pki.glob("*.crt"), *(pool.layout.root / "proxy").glob("*.crt")]
        ends |= {str(path.relative_to(pool.layout.root)): _end(path.read_bytes()) for path in files}
    soon = [name for name, end in ends.items() if end - now < timedelta(days=RENEW_BEFORE_DAYS)]
    found: list[Found] = []
    if soon:
        words = ", ".join(
            f"{name} {'ended' if ends[name] < now else 'ends'} {ends[name].date()}" for name in sorted(soon)
        )
        mend = "renew it where it was made, or let cert-manager do so"
        if pool:
            mend = f"commonpool embedded stop {pool.name} && commonpool embedded start {pool.name} renews what the pool made"
        found.append(("ill", words, mend))
    elif ends:
        found.append(("well", f"{count(len(ends), 'certificate')}, the first ends {min(ends.values()).date()}", ""))
    if pool is None:
        words = "a cluster's own certificates lie on its control plane"
        found.append(("unknown", words, "kubeadm certs check-expiration, there"))
    return found


async def _served_until(patient: Patient, cluster: "Cluster") -> dict[str, datetime]:
    """When what the proxy's Secrets hold ends, by their names; one that is missing is told elsewhere."""
    import base64

    from commonpool.components.rendering import PROXY_NAMESPACE

    proxy = patient.estate.pool.spec.network.proxy
    clients = proxy.client_certificates if proxy else None
    names = [one for one in (proxy.certificate if proxy else None, clients.authority if clients else None) if one]
    found = {}
    for name in names:
        secret = await cluster.read("v1", "Secret", PROXY_NAMESPACE, name)
        if secret and "tls.crt" in secret.get("data", {}):
            found[f"Secret {PROXY_NAMESPACE}/{name}"] = _end(base64.b64decode(secret["data"]["tls.crt"]))
    return found


def _end(certificate: bytes) -> datetime:
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


async def evidence(patient: Patient, cluster: "Cluster") -> list[Found]:
    """The pool's journal is whole: nothing is written to a cluster while it is not."""
    from commonpool.cli.evidence import place as journal_of
    from commonpool.journal import verification
    from commonpool.journal.error import JournalDamaged, JournalMissing

    folder, key = journal_of(patient.target, patient.estate.pool.name)
    if not (folder / "segments").is_dir():
        if key.exists():
            return [("ill", f"there is no journal in {folder}, but its private key is {key}", JournalMissing.next_step)]
        return [("unknown", f"there is no journal in {folder} yet", "")]
    verdict = await asyncio.to_thread(verification.verify, folder)
    if verdict.finding is not None:
        return [("ill", str(verdict.finding), JournalDamaged.next_step)]
    return [("well", f"{folder} holds {count(verdict.size, 'record')}, each as it was written", "")]


async def audit(patient: Patient, cluster: "Cluster") -> list[Found]:
    """A request that was refused a moment ago is in the audit log."""
    pool = patient.embedded
    if pool is None:
        return [
            (
                "unknown",
                "where a cluster's audit log is kept is its administrator's business",
                "look for --audit-policy-file at the API server",
            )
        ]
    path = "/api/v1/namespaces/commonpool-system/configmaps?dryRun=All"
    number = (
        await _ask(patient, "POST", path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "doctor"}})
    ).audit
    for _ in range(20):
        if number and pool.audit_log.exists() and number in _tail(pool.audit_log):
            return [("well", f"writes are recorded in {pool.audit_log}", "")]
        await asyncio.sleep(0.1)
    return [
        (
            "ill",
            f"a write is not found in {pool.audit_log}",
            f"is the disk full? commonpool embedded stop {pool.name}, then start it",
        )
    ]


def _tail(path: Path, length: int = 1 << 20) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - length))
        return file.read().decode(errors="replace")


async def encryption(patient: Patient, cluster: "Cluster") -> list[Found]:
    """What the store holds of the pool's Secrets is not to be read there."""
    pool = patient.embedded
    if pool is None:
        return [
            (
                "unknown",
                "how a cluster's store is encrypted is its administrator's business",
                "look for --encryption-provider-config at the API server",
            )
        ]
    secrets, _ = await cluster.list_objects("v1", "Secret", namespace="commonpool-system")
    if not secrets:
        return [("unknown", "there is no Secret to look at yet", patient.target.command("up"))]
    name = secrets[0]["metadata"]["name"]
    stored = await asyncio.to_thread(pool.stored, f"/registry/secrets/commonpool-system/{name}")
    if stored.startswith(b"k8s:enc:"):
        return [("well", f"Secrets are encrypted in the store ({stored[8:].split(b':')[0].decode()})", "")]
    return [
        (
            "ill",
            f"Secret {name} lies in the store unencrypted",
            "kubectl get secrets -A -o json | kubectl replace -f - writes them anew",
        )
    ]


async def network(patient: Patient, cluster: "Cluster") -> list[Found]:
    """Something on the nodes enforces NetworkPolicies: seen by three pods of our own, never taken for granted."""
    from commonpool.machines.policy_probe import try_policies

    declared, _ = await cluster.list_objects("networking.k8s.io/v1", "NetworkPolicy", metadata_only=True)
    trial = await try_policies(cluster)
    match trial.word:
        case "enforced":
            return [("well", f"policies are enforced: {trial.words}", "")]
        case "open":
            words = f"{count(len(declared), 'NetworkPolicy object')} declared, and nothing enforces them: {trial.words}"
            own = "systemctl restart commonpool-network on the nodes"
            other = "give the cluster a CNI that enforces NetworkPolicies, such as Calico or Cilium"
            return [("ill", words, own if patient.embedded else other)]
        case _:
            return [
                ("unknown", f"whether {count(len(declared), 'NetworkPolicy object')} are enforced: {trial.words}", "")
            ]


CHECKS: dict[str, Check] = {
    "components": components,
    "rules": rules,
    "enforcement": enforcement,
    "fence": fence,
    "drift": drift,
    "proxy": proxy,
    "certificates": certificates,
    "evidence": evidence,
    "audit": audit,
    "encryption": encryption,
    "network": network,
    "clock": clock,
}
