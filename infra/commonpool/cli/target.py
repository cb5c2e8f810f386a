"""What a command works on: the estate, the stacks' programs, and the cluster that it speaks to."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed, nearest

if TYPE_CHECKING:
    from commonpool.embedded import EmbeddedPool
    from commonpool.embedded.stand_in import Role
    from commonpool.engine import Program
    from commonpool.engine.kubeconfig import Credentials
    from commonpool.model import Estate

ORDER = ("pool", "services", "departments")


@dataclass(frozen=True)
class Target:
    """The options that say what a command is about, as given."""

    estate: Path | None = None
    program: Path | None = None
    stacks: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    kubeconfig: Path | None = None
    context: str | None = None
    pool: str = field(default_factory=lambda: os.environ.get("COMMONPOOL_POOL", "default"))
    secret_config: Mapping[str, str] = field(default_factory=dict, repr=False)
    started_in: Path = field(default_factory=Path.cwd, repr=False)  # programs run in folders of their own

    @property
    def embedded(self) -> bool:
        """Whether the embedded pool is meant: nobody named a cluster."""
        return self.kubeconfig is None and self.context is None

    @property
    def own_pool(self) -> "EmbeddedPool | None":
        """The embedded pool that is meant, also by somebody who names its own kubeconfig."""
        from commonpool.embedded import EmbeddedPool

        if self.embedded:
            return EmbeddedPool(self.pool)
        root = (self.started_in / self.kubeconfig).parent if self.kubeconfig else None
        if root is None or not (root / "pool.json").exists():
            return None
        return EmbeddedPool(root.name, root.parent.parent)

    @property
    def sample(self) -> bool:
        """Whether the sample estate is meant: nobody named one, and this folder is none."""
        return self.estate is None and not Path("pool.yaml").exists()

    def estate_folder(self) -> Path:
        """The estate: as named, else this folder when it is one, else the sample."""
        if self.sample:
            return project_folder() / "examples" / "estate"
        return self.estate or Path.cwd()

    def refuse_sample(self) -> None:
        """The sample is for the embedded pool; nobody means it when a cluster is named."""
        if self.sample and not self.embedded:
            raise CommandFailed(
                "this folder has no pool.yaml, and the sample estate is not for a cluster that is named",
                code="estate_missing",
                next_step="name the estate's folder with --estate",
            )

    def command(self, verb: str) -> str:
        """A command line about the same, to be copied."""
        from commonpool.cli.output import own_name

        pool = None if self.pool == os.environ.get("COMMONPOOL_POOL", "default") else self.pool
        chosen: list[tuple[str, Path | str | None]] = [("--estate", self.estate), ("--program", self.program)]
        chosen += [("--kubeconfig", self.kubeconfig), ("--context", self.context), ("--pool", pool)]
        words = [word for option, value in chosen if value is not None for word in (option, str(value))]
        return " ".join([own_name(), verb, *map(shlex.quote, words)])

    def rerun(self, verb: str) -> str:
        """A command line for the same stacks with the same configuration; the values of secrets are left to be filled in."""
        given = [("--stack", name) for name in self.stacks]
        given += [("-c", f"{key}={value}") for key, value in self.config.items()]
        given += [("--secret", f"{key}=VALUE") for key in self.secret_config]
        return " ".join([self.command(verb), *(shlex.quote(word) for pair in given for word in pair)])

    def load(self, proposed: Sequence[Path] = (), *, agreeing: bool = False) -> "Estate":
        """The estate with its promises checked, and with `proposed` manifests. Raises `EstateRefused`.

        With `agreeing`, it may lack agreements and signatures.
        """
        from commonpool.ledger import problems
        from commonpool.model import EstateRefused, load_estate

        estate = load_estate(self.estate_folder(), proposed, agreeing=agreeing)
        found = problems(estate)
        if found:
            raise EstateRefused(found)
        return replace(estate, exchange=self.exchange("services")) if needs_exchange(estate) else estate

    def exchange(self, stack: str) -> str | None:
        """Where calls pass that agreements filter, count or prove, as a run of a stack is told; None where nowhere."""
        from commonpool.components.unit import EXCHANGE

        pool = self.own_pool
        told = self.config.get(EXCHANGE) or (pool.exchange if pool else _settings(stack).get(EXCHANGE))
        return str(told) if told else None

    def credentials(self) -> "Credentials":
        """Of the named cluster, else of the embedded pool; `CommandFailed` when that does not run."""
        from commonpool.engine import kubeconfig

        if not self.embedded:
            return kubeconfig.load(self.kubeconfig and self.started_in / self.kubeconfig, self.context)
        from commonpool.embedded import EmbeddedPool, pool_names

        pool = EmbeddedPool(self.pool)
        if pool.ready():
            return kubeconfig.load(pool.kubeconfig, None)
        start = f"commonpool embedded start {self.pool}"
        if pool.running():
            raise CommandFailed(
                f"the embedded pool {self.pool} runs, but its API server does not answer",
                code="not_ready",
                next_step=f"again in half a minute, as what died is started anew; where it hangs, {start}",
            )
        near = "" if self.pool in pool_names() else next(iter(get_close_matches(self.pool, pool_names(), n=1)), "")
        meant = f"did you mean {near}? otherwise " if near else ""
        raise CommandFailed(
            f"the embedded pool {self.pool} does not run",
            code="not_running",
            next_step=f"{meant}{start}, or name a cluster with --kubeconfig",
        )

    def engine_credentials(self) -> "Credentials | None":
        """Of the account that writes services and departments on the embedded pool; None elsewhere: whoever asks writes."""
        if not self.embedded:
            return None
        from commonpool.embedded import EmbeddedPool
        from commonpool.embedded.configuration import ENGINE
        from commonpool.engine import kubeconfig

        path = EmbeddedPool(self.pool).layout.component_kubeconfig(ENGINE)
        return kubeconfig.load(path, None) if path.exists() else None  # a pool that an older version started has none


def project_folder() -> Path:
    """The checkout that this package runs from: where `Pulumi.yaml` and `stacks/` are."""
    return Path(__file__).resolve().parents[3]


def stack_names() -> list[str]:
    """Stacks of our project, from their `Pulumi.<stack>.yaml`, in the order in which they are applied."""
    names = [path.name.split(".")[1] for path in project_folder().glob("Pulumi.*.yaml")]
    return sorted(names, key=lambda name: (ORDER.index(program_of(name)), name))


def program_of(stack: str) -> str:
    """Which of the programs a stack runs."""
    named = _settings(stack).get("commonpool:program", stack)
    if named not in ORDER:
        raise CommandFailed(
            f"stack {stack!r} runs no program of ours; set commonpool:program in Pulumi.{stack}.yaml to one of {', '.join(ORDER)}",
            code="stack_unknown",
        )
    return str(named)


def _settings(stack: str) -> dict[str, Any]:
    import yaml

    path = project_folder() / f"Pulumi.{stack}.yaml"
    if not path.exists():
        known = sorted(other.name.split(".")[1] for other in project_folder().glob("Pulumi.*.yaml"))
        raise CommandFailed(f"there is no stack {stack!r}", code="stack_unknown", next_step=nearest(stack, known))
    return dict((yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("config") or {})


def programs(
    target: Target, estate: "Estate | None", weights: Mapping[str, Mapping[str, int]] | None = None
) -> "list[Program]":
    """The programs of a run in the order of application: ours, or the one of somebody else's folder.

    `weights` are the backends' weights of services that are on the move.
    """
    if target.program is not None:
        return _of_folder(target, target.program.resolve())
    from commonpool.components.unit import EXCHANGE, SIMULATE, STAND_INS, WEIGHTS, units
    from commonpool.engine import Program

    assert estate is not None
    found = []
    roles = stand_ins(target, estate)
    played = {key: f"{role.address}:{role.port}" for key, role in roles.items()}
    for stack in target.stacks or tuple(stack_names()):
        program = program_of(stack)
        config = {
            **_settings(stack),
            **target.config,
            "commonpool:estate": str(estate.root.resolve()),
            "commonpool:program": program,
        }
        # The pool's rules name its place before the first agreement needs it, which need not apply them anew.
        if (program == "pool" or needs_exchange(estate)) and (pool := target.own_pool):
            config.setdefault(EXCHANGE, pool.exchange)
        if program == "pool" and target.own_pool is None:
            # Nothing keeps a simulated node alive in somebody's cluster, where a real one may have its name.
            config[SIMULATE] = target.config.get(SIMULATE, "false")
        if program == "services" and weights:
            config[WEIGHTS] = json.dumps(weights, sort_keys=True)
        if program in ("pool", "services") and played:
            config[STAND_INS] = json.dumps(played, sort_keys=True)
        found.append(Program("commonpool", stack, project_folder(), config, units=units(estate, program, config)))
    return found


def needs_exchange(estate: "Estate") -> bool:
    """Whether any agreement in force takes out fields or keeps evidence of calls."""
    return bool(_by_exchange(estate))


def _by_exchange(estate: "Estate") -> list[str]:
    from commonpool.model.estate import needs_exchange as needs

    return [one.name for one in estate.agreements if needs(one) and estate.standings[one.name].in_force]


def left_out(target: Target, estate: "Estate") -> list[str]:
    """What the estate declares and a run leaves out in a cluster of somebody's own, in words for a person."""
    from commonpool.components.unit import SIMULATE

    found = []
    nodes = [one for one in estate.machines if one.facts.role == "node" and not one.facts.trial]
    absent = [one.name for one in nodes if not one.facts.joined]
    applied = any(program_of(stack) == "pool" for stack in target.stacks or stack_names())
    if absent and applied and target.own_pool is None and SIMULATE not in target.config:
        others = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        found.append(
            f"{absent[0]}{others}: machines that have not joined are left out; write commonpool_joined: true in the "
            "inventory for those that are nodes of this cluster"
        )
    if estate.exchange is None and (silent := _by_exchange(estate)):
        found.append(
            f"{', '.join(silent)}: nothing is granted under agreements that need the exchange, as commonpool:exchange does "
            "not say where it listens; see service-proxy/README.md"
        )
    return found


def stand_ins(target: Target, estate: "Estate") -> "dict[str, Role]":
    """What the embedded pool plays for machines that have not joined; nothing in a cluster, or where somebody says otherwise."""
    from commonpool.components.unit import SIMULATE, STAND_INS

    simulated = str(target.config.get(SIMULATE, _settings("pool").get(SIMULATE, "true"))).lower()
    if not target.embedded or STAND_INS in target.config or simulated == "false":
        return {}
    from commonpool.embedded import EmbeddedPool
    from commonpool.embedded.stand_in import roles

    wanted = roles(estate)
    return EmbeddedPool(target.pool).stand_ins(wanted) if wanted else {}


def _of_folder(target: Target, folder: Path) -> "list[Program]":
    """Somebody else's program: the stacks that are named, else the only one that has settings, else `dev`."""
    from commonpool.engine.project import load, stacks_of

    known = stacks_of(folder)
    if len(known) > 1 and not target.stacks and "dev" not in known:
        raise CommandFailed(
            f"{folder} has settings of several stacks: {', '.join(known)}",
            code="stack_unknown",
            next_step="name one with --stack",
        )
    only = known[0] if len(known) == 1 else "dev"
    found = [load(folder, stack, target.config, target.secret_config) for stack in target.stacks or (only,)]
    for program in found:
        for key in ("kubeconfig", "context"):
            if program.config.get(f"kubernetes:{key}") and target.embedded:
                raise CommandFailed(
                    f"the configuration of stack {program.stack} names a cluster (kubernetes:{key}), "
                    "and this command is about the embedded pool",
                    code="cluster_unclear",
                    next_step=f"name that cluster with --{key}, or say -c kubernetes:{key}= to mean the embedded pool",
                )
    return found
