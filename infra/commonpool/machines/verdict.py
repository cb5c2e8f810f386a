"""From facts to a verdict: what a machine is good for, why, and until when. Pure; the rules are data with their sources.

A fact that is unknown excludes nothing, unless a rule asks for its absence: what could not be seen is said, not guessed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from commonpool.machines.facts import Facts
from commonpool.model import Quantity
from commonpool.model.inventory import Role

ROLES: tuple[Role, ...] = ("node", "storage", "backend", "agent-only", "retire")  # best use first
_TESTS = ("is", "is_not", "any", "missing", "below", "above", "above_seconds", "off_by", "older_than")


@dataclass(frozen=True)
class Reason:
    """One rule that held: what it takes away, in words, where it comes from, what would mend it."""

    rule: str
    words: str
    excludes: tuple[str, ...]
    source: str
    mend: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a machine is good for. `overruled` is what the rules alone would have said."""

    role: Role
    reasons: tuple[Reason, ...]
    forecasts: tuple[Reason, ...]
    notes: tuple[Reason, ...]
    overruled: Role | None = None
    overrule: str = ""

    def against(self, role: str) -> tuple[Reason, ...]:
        """Why it is not in this role."""
        return tuple(reason for reason in self.reasons if role in reason.excludes)

    def why(self) -> str:
        """The verdict's reason in one line: what stands against every better use."""
        if self.overruled is not None:
            return self.overrule
        better = ROLES[: ROLES.index(self.role)]
        against = {reason.words: None for role in better[:1] for reason in self.against(role)}
        return "; ".join(against) or "nothing stands against it"


def judge(facts: Facts, today: date, overrule: tuple[Role, str, str] | None = None) -> Verdict:
    """The verdict of the rules; `overrule` is (role, reason, date) of a person, which wins and is shown as such."""
    reasons: list[Reason] = []
    forecasts: list[Reason] = []
    notes: list[Reason] = []
    for rule in rules()["rules"]:
        value = getattr(facts, rule["fact"])
        if not _holds(rule, value) or getattr(facts, rule.get("unless", ""), False):
            continue
        shown = _shown(rule["fact"], value)
        for word, found in (("reason", reasons), ("forecast", forecasts), ("note", notes)):
            if word in rule:
                words = rule[word].replace("{value}", shown)
                excludes = tuple(rule.get("excludes", ()))
                found.append(Reason(rule["id"], words, excludes, rule["source"], rule.get("mend", "")))
    _support(facts, today, reasons, forecasts)
    excluded = {role for reason in reasons for role in reason.excludes}
    found_role: Role = next((role for role in ROLES if role not in excluded), "retire")
    parts = tuple(reasons), tuple(forecasts), tuple(notes)
    if overrule is None or overrule[0] == found_role:
        return Verdict(found_role, *parts)
    role, why, when = overrule
    return Verdict(role, *parts, overruled=found_role, overrule=f"overruled on {when}: {why}")


def _support(facts: Facts, today: date, reasons: list[Reason], forecasts: list[Reason]) -> None:
    """Security updates of its system: over, or until when."""
    known = rules()["systems"]
    name = facts.system or ""
    entry = known.get(name) or known.get(name.partition(".")[0])
    if entry is None:
        return
    until = date.fromisoformat(entry["until"])
    system = facts.system_name or name
    if until < today:
        words = f"{system} has had no security updates since {until}"
        reasons.append(Reason("system-support", words, ("node",), entry["source"], "renew its system"))
    else:
        words = f"{system} gets security updates until {until}"
        soon = " (less than a year)" if until - today < timedelta(days=365) else ""
        forecasts.append(Reason("system-support", words + soon, (), entry["source"], "renew its system before"))


def _holds(rule: Mapping[str, Any], value: Any) -> bool:  # noqa: ANN401
    test = next(name for name in _TESTS if name in rule)
    wanted = rule[test]
    if test == "missing":
        return bool((value is None) == wanted)
    if value is None:
        return False
    match test:
        case "is":
            return bool(value == wanted)
        case "is_not":
            return bool(value not in wanted)
        case "any":
            return bool(bool(value) == wanted)
        case "below":
            return bool(value < _bound(wanted))
        case "above":
            return bool(value > _bound(wanted))
        case "above_seconds":
            return bool(value > wanted)
        case "off_by":
            return bool(abs(value) > float(wanted))
        case _:
            return _version(value) < _version(wanted)


def _bound(wanted: str | int) -> int:
    return wanted if isinstance(wanted, int) else Quantity.parse(wanted).nano // 10**9


def _version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: 6.1.0-13-amd64 is (6, 1, 0)."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _shown(fact: str, value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if fact in ("memory", "swap", "free_space", "disk_capacity"):
        return Quantity(int(value) * 10**9, binary=True).human("B")
    if fact == "read_latency":
        return f"{value * 1000:.1f} ms"
    if fact == "clock_skew":
        return f"{value:+.0f} s"
    return str(value)


@cache
def rules() -> dict[str, Any]:
    """The rules as they stand in rules.yaml."""
    text = Path(__file__).with_name("rules.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))
