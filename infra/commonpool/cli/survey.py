"""`commonpool machine survey` and `trust`: look at machines and judge them; confirm the host keys of new ones."""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output, count, own_name
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.machines import Access, Event, Survey
    from commonpool.machines.host_keys import HostKey
    from commonpool.model import Estate, Machine


def survey(
    target: Target,
    names: Sequence[str],
    output: Output,
    *,
    html: Path | None,
    private_key: Path | None,
    ask_become_pass: bool,
) -> int:
    """Look at the named machines (default: all), print and keep what was seen. 1 when one could not be looked at."""
    from commonpool.machines import survey as look
    from commonpool.machines.page import page

    estate = target.load()
    machines = chosen(estate, names)
    access = access_of(output, private_key, ask_become_pass=ask_become_pass)
    progress = Progress(output, len(machines))
    with output.working(f"looking at {count(len(machines), 'machine')}"):
        found = look(machines, machines_folder(estate), access, progress.take)
    if html is not None:
        html.write_text(page(found, f"Machines of {estate.pool.spec.display_name}"), encoding="utf-8")
        output.say(f"wrote {html}")
    if output.structured:
        output.document("MachineSurveyList", items=[one.to_json() for one in found])
    else:
        output.data(_table(found, output))
        _tell(found, output)
    return 1 if any(one.failure for one in found) else 0


def _table(found: "Sequence[Survey]", output: Output) -> str:
    from commonpool.machines.page import size

    rows = [
        [
            one.machine.name,
            one.machine.site,
            one.word + ("*" if one.verdict and one.verdict.overruled else ""),
            str(one.facts.processors or "-") if one.facts else "-",
            size(one.facts.memory) if one.facts else "-",
            (one.facts.system_name or "-") if one.facts else "-",
            one.failure or (one.verdict.why() if one.verdict else ""),
        ]
        for one in found
    ]
    return output.table(["machine", "site", "verdict", "cores", "memory", "system", "why"], rows, left=3)


def _tell(found: "Sequence[Survey]", output: Output) -> None:
    """What to do about it, for people: forecasts once, contradictions and failures for each machine."""
    forecasts: dict[str, list[str]] = {}
    for one in found:
        for reason in one.verdict.forecasts if one.verdict else ():
            forecasts.setdefault(reason.words, []).append(one.machine.name)
    for words, names in forecasts.items():
        output.say(f"forecast for {', '.join(names)}: {words}")
    for one in found:
        if one.failure:
            output.say(f"{one.machine.name}: next: {one.next_step.replace('commonpool', own_name(), 1)}")
        elif one.contradiction:
            output.say(f"{one.machine.name}: {one.contradiction}")


def trust(target: Target, names: Sequence[str], output: Output, *, replace: Sequence[str], yes: bool) -> int:
    """Show the host keys of machines that have none pinned, ask, and pin them beside the inventory."""
    from commonpool.machines.host_keys import pin, pin_file, pinned, refuse_foreign, scan

    estate = target.load()
    machines = chosen(estate, [*names, *replace])
    wanted = [one for one in machines if one.name in replace or one.name not in pinned(pin_file(one))]
    if not wanted:
        output.say(f"the keys of {count(len(machines), 'machine')} are pinned already")
    shown = scan(wanted)
    for one in wanted:
        if one.name in shown:
            refuse_foreign(shown[one.name], {**shown, **pinned(pin_file(one))}, replace)
    if shown and not output.structured:
        rows = [[key.machine, key.kind, key.fingerprint] for key in shown.values()]
        output.data(output.table(["machine", "kind", "fingerprint"], rows, left=3))
    silent = [one for one in wanted if one.name not in shown]
    for one in silent:
        output.say(f"{one.name}: no SSH server answers at {one.address or one.name}, port {one.port}")
    if silent:
        again = " ".join([target.command("machine trust"), *(one.name for one in silent)])
        output.say(f"  next: check power, cable, address (ansible_host) and port; then {again}")
    if shown and not yes:
        _confirm(output, shown)
    for path in sorted({pin_file(one) for one in wanted}):
        pin(path, [shown[one.name] for one in wanted if pin_file(one) == path and one.name in shown], replace)
    if shown:
        output.say(f"pinned the {'key' if len(shown) == 1 else 'keys'} of {count(len(shown), 'machine')}")
    if output.structured:
        items = [{"machine": key.machine, "kind": key.kind, "fingerprint": key.fingerprint} for key in shown.values()]
        output.document("HostKeyList", items=items, silent=[one.name for one in silent])
    return 1 if silent else 0


def _confirm(output: Output, keys: "dict[str, HostKey]") -> None:
    if not output.interactive:
        raise CommandFailed(
            "nobody can be asked whether these keys are right",
            code="declined",
            next_step="compare them on the machines (ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub), then add --yes",
        )
    output.say("compare with the machines' own (ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub)")
    try:
        answer = input(f"pin {'this key' if len(keys) == 1 else f'these {len(keys)} keys'}? [yes/no] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandFailed("the keys were not confirmed; nothing was pinned", code="declined")


def chosen(estate: "Estate", names: Sequence[str]) -> "list[Machine]":
    """The named machines, or all. Raises `CommandFailed` for a name that no inventory has."""
    from difflib import get_close_matches

    known = {one.name: one for one in estate.machines}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"see {own_name()} machine list"
            raise CommandFailed(f"no inventory has a machine {name!r}", code="machine_unknown", next_step=hint)
    return [known[name] for name in dict.fromkeys(names)] if names else list(estate.machines)


def machines_folder(estate: "Estate") -> Path:
    """Where surveys and runs of this pool's machines are kept."""
    from commonpool.folder import data_folder

    return data_folder() / "machines" / estate.pool.name


def access_of(output: Output, private_key: Path | None, *, ask_become_pass: bool) -> "Access":
    """How to get onto the machines; the password is asked for, never taken from the command line."""
    from commonpool.machines import Access

    if ask_become_pass and not output.interactive:
        raise CommandFailed("nobody can be asked for the sudo password", code="usage", next_step="run it at a terminal")
    password = getpass.getpass("sudo password of the machines: ") if ask_become_pass else None
    return Access(private_key, password)


SHOWN = 12  # machines at a time: more would fill a terminal


@dataclass
class Progress:
    """Each machine with its step, as it goes, the latest ones last; a machine that goes wrong is told at once."""

    output: Output
    total: int

    def __post_init__(self) -> None:
        """Nobody has come far yet."""
        self.steps: dict[str, str] = {}
        self.bad: set[str] = set()

    def take(self, event: "Event") -> None:
        """Show one event."""
        if event.state in ("failed", "unreachable"):
            self.bad.add(event.machine)
            self.output.say(f"  {event.machine}: {event.step or 'connecting'}: {event.words}")
        self.steps.pop(event.machine, None)
        self.steps[event.machine] = event.step
        lines = [f"      {name}: {step}" for name, step in list(self.steps.items())[-SHOWN:]]
        self.output.progress(
            "\n".join(
                [f"{len(self.steps)} of {count(self.total, 'machine')} under way, {len(self.bad)} with trouble", *lines]
            )
        )
