"""`commonpool validate`, `schema` and `explain`: what is written in manifests, without any cluster."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Format, Output, count
from commonpool.cli.target import Target


def check(target: Target, files: Sequence[Path], output: Output) -> None:
    """Say that everything is valid; what is not is raised, all of it at once."""
    from commonpool.model import EstateRefused, warnings
    from commonpool.model.agreement_check import lapses

    started = time.monotonic()
    with output.working("reading the manifests"):
        estate = target.load(files)
        over = [problem for problem, for_good in lapses(estate) if for_good]
        if over:
            raise EstateRefused(over)
        beyond = warnings(estate)
    number = len(estate.sources)
    if output.structured:
        output.document(
            "Validation", manifests=number, machines=len(estate.machines), problems=[], warnings=list(beyond)
        )
        return
    for words in beyond:
        output.say(f"warning: {words}")
    mark = "✅ " if output.format is Format.MARKDOWN else ""
    took = f" ({time.monotonic() - started:.2f} s)" if output.format is Format.TEXT else ""
    verb = "are" if number + len(estate.machines) > 1 else "is"
    output.data(f"{mark}{count(number, 'manifest')} and {count(len(estate.machines), 'machine')} {verb} valid{took}")


def schema(kind: str, folder: Path | None, output: Output) -> None:
    """Print one schema, or write all into a folder."""
    from commonpool.model import KINDS, json_schema

    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in KINDS:
            text = json.dumps(json_schema(name), indent=1, ensure_ascii=False) + "\n"
            (folder / f"{name.lower()}.json").write_text(text, encoding="utf-8")
            output.say(f"wrote {folder / f'{name.lower()}.json'}")
        return
    found = next((name for name in KINDS if name.lower() == kind.lower()), None)
    if found is None:
        raise CommandFailed(f"there is no kind {kind!r}", code="usage", next_step=nearest(kind, list(KINDS)))
    output.data(json.dumps(json_schema(found), indent=2, ensure_ascii=False))


def explain(path: str, output: Output) -> None:
    """What a field means; as a document its part of the schema's words."""
    from commonpool.model import FieldUnknown, explain_field

    try:
        text = explain_field(path)
    except FieldUnknown as error:
        raise CommandFailed(str(error), code="usage", next_step=nearest(error.name, error.known)) from error
    if output.structured:
        output.document("Explanation", field=path, text=text)
    else:
        output.words(f"```\n{text}\n```" if output.format is Format.MARKDOWN else text)
