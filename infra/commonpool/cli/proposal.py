"""Writing a manifest for somebody: only one that is valid where it will stand, and never over another."""

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from commonpool.cli.failure import CommandFailed
from commonpool.cli.output import Output
from commonpool.cli.target import Target, project_folder

if TYPE_CHECKING:
    from commonpool.model import Estate


def schema(kind: str, folder: Path) -> str:
    """Where editors find the JSON Schema of a kind, as seen from a manifest's folder."""
    return os.path.relpath(project_folder() / "schemas" / f"{kind.lower()}.json", folder.resolve())


def place(estate: "Estate", folder: str, name: str) -> Path:
    """Where a new manifest will stand. Raises `CommandFailed` for a name that is none, or that is taken."""
    from commonpool.model import show_path, shown
    from commonpool.model.base import suggestion

    if suggestion(name, 40) != name:
        hint = f"write {suggestion(name, 40)}" if suggestion(name, 40) else "use a-z, 0-9 and '-'"
        raise CommandFailed(f"{shown(name)!r} is not a name", code="name_invalid", next_step=hint)
    path = estate.root / folder / f"{name}.yaml"
    if path.exists():
        raise CommandFailed(
            f"{show_path(path, estate.root)} exists already; it is not overwritten",
            code="exists",
            next_step="edit it, or choose another name",
        )
    return path


def write(
    target: Target, estate: "Estate", path: Path, text: str, output: Output, *, dry_run: bool, agreeing: bool = False
) -> None:
    """Check a manifest as though it stood there, then write it, or with `dry_run` print it. Raises `EstateRefused`."""
    from commonpool.model import show_path

    check(target, estate, path, text, agreeing=agreeing)
    if dry_run:
        show(estate, {path: text}, output)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    output.say(f"wrote {show_path(path, estate.root)}")


def check(target: Target, estate: "Estate", path: Path, text: str, *, agreeing: bool = False) -> None:
    """Raises `EstateRefused` when the estate would not be valid with this manifest at its place."""
    from commonpool.model import EstateRefused, show_path

    with tempfile.TemporaryDirectory(prefix="commonpool-") as folder:
        draft = Path(folder) / path.name
        draft.write_text(text, encoding="utf-8")
        try:
            target.load([draft], agreeing=agreeing)
        except EstateRefused as error:
            shown_place = f"{show_path(path, estate.root)} (not written)"
            problems = [
                replace(one, file=shown_place if one.file == str(draft) else one.file) for one in error.problems
            ]
            raise EstateRefused(problems) from error


def show(estate: "Estate", texts: Mapping[Path, str], output: Output) -> None:
    """Print what would be written, and is not."""
    from commonpool.model import show_path

    if output.structured:
        items = [{"file": show_path(path, estate.root), "text": text} for path, text in texts.items()]
        output.document("DraftList", items=items)
    else:
        output.data("\n---\n".join(text.rstrip() for text in texts.values()))


def quoted(text: str) -> str:
    """A text as YAML: plain where that is the same to every reader, else in quotes."""
    plain = re.fullmatch(r"[^\W\d][\w 、。（）()./-]*", text) and text == text.strip()
    known = text.lower() in ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    return text if plain and not known else json.dumps(text, ensure_ascii=False)
