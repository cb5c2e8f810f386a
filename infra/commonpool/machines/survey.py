"""Looking at machines, and remembering what was seen: evidence, facts and verdict of each, until it is looked at again."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic.alias_generators import to_camel

from commonpool.machines.facts import Facts, complete, facts
from commonpool.machines.host_keys import pin_file, pinned
from commonpool.machines.run import MachineRun, Observer, Play, play
from commonpool.machines.verdict import Verdict, judge
from commonpool.model import Machine, shown

STEP = "Look at the machine"


@dataclass(frozen=True)
class Access:
    """How the operator gets onto the machines; passwords live in memory only."""

    private_key: Path | None = None
    become_password: str | None = None

    def passwords(self) -> dict[Literal["become", "connection"], str]:
        """For a run."""
        return {"become": self.become_password} if self.become_password is not None else {}

    def to(
        self,
        playbook: str,
        machines: Sequence[Machine],
        variables: Mapping[str, Any],
        *,
        host_variables: Mapping[str, Mapping[str, Any]] | None = None,
        secret_files: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> Play:
        """A playbook on these machines, by the keys that a person confirmed and by the organisation's inventories."""
        return Play(
            playbook,
            tuple(machines),
            {machine.site: pin_file(machine) for machine in machines},
            variables,
            host_variables or {},
            secret_files or {},
            self.passwords(),
            self.private_key,
            check,
        )


@dataclass(frozen=True)
class Survey:
    """What is known of one machine. `failure` is set when it could not be looked at this time; `verdict` may be older."""

    machine: Machine
    moment: str
    failure: str = ""
    next_step: str = ""
    facts: Facts | None = None
    verdict: Verdict | None = None
    evidence: str = ""

    @property
    def word(self) -> str:
        """The verdict, or `unknown`."""
        return self.verdict.role if self.verdict else "unknown"

    @property
    def contradiction(self) -> str:
        """What the inventory says that the verdict does not bear; empty when they agree."""
        declared = self.machine.facts.role
        if self.verdict is None or self.verdict.role == declared:
            return ""
        return f"the inventory says {declared}; set commonpool_role: {self.verdict.role}, or overrule with a reason"

    def to_json(self) -> dict[str, Any]:
        """One document, without the evidence."""
        return {
            "apiVersion": "commonpool.dev/v1",
            "kind": "MachineSurvey",
            "name": self.machine.name,
            "site": self.machine.site,
            "moment": self.moment,
            "declaredRole": self.machine.facts.role,
            "failure": self.failure,
            "next": self.next_step,
            "contradiction": self.contradiction,
            "verdict": _camel(asdict(self.verdict)) if self.verdict else None,
            "facts": _camel(self.facts.to_json()) if self.facts else None,
        }


def survey(
    machines: Sequence[Machine], folder: Path, access: Access, observer: Observer, check_seconds: int = 60
) -> list[Survey]:
    """Look at these machines, all at once, and keep what was seen. Changes nothing on them."""
    variables = {"survey_become": access.become_password is not None, "survey_seconds": check_seconds}
    runs = play(access.to("commonpool.pool.survey", machines, variables), folder / "runs", observer)
    now = datetime.now(UTC)
    found = [_read(machine, runs[machine.name], now, folder) for machine in machines]
    for one in found:
        if not one.failure:
            _forget_former(folder, one)
            keep(folder, one)
    return found


def _forget_former(folder: Path, one: Survey) -> None:
    """Of a machine with another system than at its last survey, what Ansible remembers for a day: its package manager, say."""
    before = recall(folder, one.machine)
    if before and before.facts and one.facts and before.facts.system != one.facts.system:
        for path in (folder / "facts").glob(f"*{one.machine.name}"):
            path.unlink(missing_ok=True)


def _read(machine: Machine, run: MachineRun, now: datetime, folder: Path) -> Survey:
    moment = now.isoformat(timespec="seconds")
    evidence = str(run.results.get(STEP, {}).get("stdout", ""))
    if run.failed or not complete(evidence):
        words, next_step = explain(machine, run.words or "the survey did not come to its end there")
        before = recall(folder, machine)
        if before is None:
            return Survey(machine, moment, words, next_step)
        return Survey(machine, before.moment, words, next_step, before.facts, before.verdict, before.evidence)
    seen = facts(evidence, run.times[STEP])
    return Survey(machine, moment, facts=seen, verdict=_judge(machine, seen, now.date()), evidence=evidence)


def _judge(machine: Machine, seen: Facts, today: date) -> Verdict:
    overrule = machine.facts.overrule
    return judge(seen, today, (overrule.role, overrule.reason, overrule.date) if overrule else None)


def explain(machine: Machine, words: str) -> tuple[str, str]:
    """A failure in our words, and what to do about it."""
    name = machine.name
    if "host key verification failed" in words.lower() or "identification has changed" in words.lower():
        if name in pinned(pin_file(machine)):
            return (
                "it shows another host key than the pinned one; nothing was sent to it",
                f"find out why; if it was reinstalled: commonpool machine trust --replace {name}",
            )
        return "its host key is not pinned yet", f"commonpool machine trust {name}"
    if "permission denied" in words.lower():
        return "it refuses the operator's key", "put the public key into its ansible_user's authorized_keys"
    if re.search(r"sudo.*password|incorrect.*password|become.*password", words, re.IGNORECASE):
        return "sudo does not accept the password", "check the password, or run without --ask-become-pass"
    if "could not resolve" in words.lower():
        return f"nobody knows its name ({shown(words)})", "declare its address (ansible_host); then survey again"
    if re.search(r"timed? ?out|no route|refused|unreachable", words, re.IGNORECASE):
        return f"it does not answer ({shown(words)})", "check power, cable, address; then survey again"
    return shown(words), "look at the run's folder for the whole story"


def keep(folder: Path, one: Survey) -> None:
    """Save it with its evidence."""
    place = folder / "surveys"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    saved = {"moment": one.moment, "facts": one.facts.to_json() if one.facts else None, "evidence": one.evidence}
    scratch = place / f".{one.machine.name}.new"
    scratch.write_text(json.dumps(saved, indent=1), encoding="utf-8")
    scratch.replace(place / f"{one.machine.name}.json")


def recall(folder: Path, machine: Machine) -> Survey | None:
    """The last survey of a machine, judged anew by today's rules; None when there is none that can be read."""
    try:
        saved = json.loads((folder / "surveys" / f"{machine.name}.json").read_text(encoding="utf-8"))
        moment, evidence = str(saved["moment"]), str(saved["evidence"])
        seen = _facts_of(saved["facts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Survey(
        machine, moment, facts=seen, verdict=_judge(machine, seen, datetime.now(UTC).date()), evidence=evidence
    )


def _facts_of(saved: Mapping[str, Any]) -> Facts:
    from commonpool.machines.facts import Disk

    values = dict(saved)
    return Facts(**{**values, "disks": [Disk(**disk) for disk in values.get("disks", [])]})


def _camel(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {to_camel(str(key)): _camel(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_camel(item) for item in value]
    return value
