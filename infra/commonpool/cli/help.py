"""How help reads: every command has an example, values have names in capitals, no sentence is cut off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from commonpool.cli.options import spread

_Function = TypeVar("_Function", bound=Callable[..., Any])
EXAMPLES = {
    "up": "commonpool up --target water-bureau",
    "preview": "commonpool preview --output markdown > comment.md",
    "destroy": "commonpool destroy --stack departments",
    "refresh": "commonpool refresh --detailed-exitcode",
    "status": "commonpool status",
    "doctor": "commonpool doctor",
    "validate": "commonpool validate examples/refused/asks-too-much.yaml",
    "schema": "commonpool schema Department > department.json",
    "explain": "commonpool explain department.spec.namespaces.resources",
    "ledger": "commonpool ledger --html ledger.html",
    "evaluate": "commonpool evaluate --from 2026-01-01 --to 2026-12-31 --write 2026",
    "version": "commonpool version",
    "completion": "source <(commonpool completion bash)",
    "department list": "commonpool department list --output json",
    "department show": "commonpool department show water-bureau",
    "department explain": "commonpool department explain water-bureau",
    "department new": "commonpool department new harbour-office --dry-run",
    "machine list": "commonpool machine list",
    "machine survey": "commonpool machine survey rs-01 rs-02 --html machines.html",
    "machine onboard": "commonpool machine onboard rs-01 --preview",
    "machine retire": "commonpool machine retire rs-01 --preview",
    "machine reset": "commonpool machine reset rs-01",
    "machine volumes": "commonpool machine volumes",
    "machine image": "commonpool machine image pause.tar --on rs-01",
    "machine trust": "commonpool machine trust rs-01",
    "service list": "commonpool service list",
    "service show": "commonpool service show company-register",
    "service watch": "commonpool service watch company-register --every 5",
    "service credential": """\
commonpool service credential company-register \\
    --caller finance-department-treasury""",
    "service x-road": """\
commonpool service x-road --client JN/GOV/0001/payroll \\
    --system desk/forecast-desk.json""",
    "service certificate": """\
commonpool service certificate policy-research forecast-desk --write desk""",
    "service dns": "commonpool service dns",
    "service cutover run": "commonpool service cutover run document-archive",
    "service cutover status": "commonpool service cutover status document-archive",
    "service cutover pause": "commonpool service cutover pause document-archive",
    "service cutover resume": "commonpool service cutover resume document-archive",
    "service cutover approve": "commonpool service cutover approve document-archive",
    "service cutover abort": "commonpool service cutover abort document-archive",
    "policy list": "commonpool policy list",
    "policy explain": "commonpool policy explain --since 3d",
    "credential ci": "commonpool credential ci --preview-only --write ci.kubeconfig",
    "dataset list": "commonpool dataset list --provider water-bureau",
    "dataset search": "commonpool dataset search 人口",
    "dataset show": "commonpool dataset show residents",
    "dataset export": "commonpool dataset export --form csv > catalogue.csv",
    "dataset import": "commonpool dataset import catalogue.csv --dry-run",
    "agreement new": """\
commonpool agreement new residents-for-floods --consumer water-bureau \\
    --dataset residents --purpose flood-warning \\
    --description 'Warn those who live below the dam' \\
    --law 防洪法 --article 41 --dry-run""",
    "agreement key": "commonpool agreement key water-bureau.pem",
    "agreement list": "commonpool agreement list",
    "agreement show": "commonpool agreement show residents-for-payroll",
    "agreement verify": "commonpool agreement verify residents-for-payroll",
    "agreement sign": """\
commonpool agreement sign civil-servants-for-budget \\
    --department finance-department --key finance.pem""",
    "agreement suspend": """\
commonpool agreement suspend residents-for-payroll \\
    --department civil-affairs --key civil-affairs.pem --reason audit""",
    "agreement resume": """\
commonpool agreement resume residents-for-payroll \\
    --department civil-affairs --key civil-affairs.pem --reason done""",
    "agreement terminate": """\
commonpool agreement terminate residents-for-payroll \\
    --department civil-affairs --key civil-affairs.pem --reason moved""",
    "request new": """\
commonpool request new residents-for-floods --consumer water-bureau \\
    --dataset residents --purpose flood-warning \\
    --description 'Warn those who live below the dam' \\
    --law 防洪法 --article 41 --dry-run""",
    "request list": "commonpool request list",
    "request show": "commonpool request show civil-servants-for-budget",
    "request decide": """\
commonpool request decide civil-servants-for-budget --grant \\
    --by 'Data office' --dry-run""",
    "correction new": """\
commonpool correction new company-closed --dataset companies \\
    --item state --record 91330000MA00000000 \\
    --found-by finance-department --description 'Struck off in May'""",
    "correction list": "commonpool correction list",
    "correction answer": """\
commonpool correction answer company-moved --result corrected \\
    --by 'Register office' --reason 'Entered as found'""",
    "correction dispute": """\
commonpool correction dispute company-moved --reason 'Still the old one'""",
    "progress list": "commonpool progress list",
    "progress report": "commonpool progress report --month 2026-10",
    "drop pack": """\
commonpool drop pack residents-for-payroll residents.csv \\
    --to drop --key civil-affairs.pem""",
    "drop fetch": """\
commonpool drop fetch https://drops.example/1 --into received \\
    --key personnel.pem""",
    "drop acknowledge": """\
commonpool drop acknowledge receipt.json --manifest drop/manifest.json""",
    "journal verify": "commonpool journal verify exported --key pool.key",
    "journal show": "commonpool journal show --kind exchange. --limit 50",
    "journal export": "commonpool journal export exported",
    "journal head": "commonpool journal head > head.txt",
    "journal anchor": "commonpool journal anchor head.txt --key city.key",
    "journal keys": "commonpool journal keys",
    "journal stamp": "commonpool journal stamp --service https://stamps.example",
    "journal observe": "commonpool journal observe",
    "embedded start": "commonpool embedded start",
    "embedded stop": "commonpool embedded stop",
    "embedded status": "commonpool embedded status",
    "embedded logs": "commonpool embedded logs envoy --follow",
    "embedded hosts": "commonpool embedded hosts --no-wait",
    "embedded reset": "commonpool embedded reset trial --yes",
    "embedded kubeconfig": """\
commonpool embedded kubeconfig --user ann \\
    --group oidc:water-developers --write water.kubeconfig""",
}


class Command(TyperCommand):
    """A command whose help ends with an example."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
        """As the parser makes it; what a value is gets a name for people."""
        super().__init__(*arguments, **more)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.metavar = parameter.metavar or (parameter.name or "").upper()
            elif isinstance(parameter, TyperOption) and parameter.metavar is None and not parameter.is_flag:
                parameter.metavar = _value(parameter.type_descriptor.annotation)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """`[OPTIONS] NAME [FILE...]`."""
        pieces = [self.options_metavar or ""]
        for parameter in self.get_params(ctx):
            if isinstance(parameter, TyperArgument):
                name = _several(parameter)
                pieces.append(name if parameter.required else f"[{name}]")
        return pieces

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Arguments by their names alone, then options."""
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = isinstance(parameter, TyperArgument)
                name = _several(parameter) if argument else record[0]
                rows["Arguments" if argument else "Options"].append((name, record[1]))
        for title, found in rows.items():
            if found:
                with formatter.section(title):
                    formatter.write_dl(found)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """The example."""
        example = EXAMPLES.get(ctx.command_path.partition(" ")[2])
        if example:
            with formatter.section("Example"):
                formatter.write("".join(f"  {line}\n" for line in example.splitlines()))


class Commands(TyperGroup):
    """A group whose list tells of each command in a whole sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Names and first sentences."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, sentence(one.help or "")) for name, one in found if one is not None and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Group(typer.Typer):
    """Commands under one word."""

    def __init__(self, help: str, **more: Any) -> None:  # noqa: ANN401
        """`help` stands above the list of its commands."""
        super().__init__(cls=Commands, help=help, no_args_is_help=True, rich_markup_mode=None, **more)

    def command(self, name: str | None = None, **more: Any) -> Callable[[_Function], _Function]:  # noqa: ANN401
        """As the framework does it, with our help, and with the options that a target is made of."""
        register = super().command(name, cls=Command, **more)

        def command(function: _Function) -> _Function:
            register(spread(function))
            return function

        return command


def sentence(text: str) -> str:
    """The first one."""
    return " ".join(text.split()).partition(". ")[0].removesuffix(".") + "."


def _several(argument: Any) -> str:  # noqa: ANN401
    return f"{argument.metavar}..." if argument.nargs != 1 else str(argument.metavar)


def _value(annotation: Any) -> str | None:  # noqa: ANN401
    """What a value is called; nothing where its choices are listed."""
    kinds = {str: "TEXT", Path: "PATH", int: "N", float: "N"}
    return next((kinds[one] for one in (annotation, *get_args(annotation)) if one in kinds), None)
