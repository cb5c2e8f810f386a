"""`commonpool dataset list|search|show|import|export`: the catalogue of what departments have."""

import csv
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli.failure import CommandFailed, nearest
from commonpool.cli.output import Output, count
from commonpool.cli.target import Target

if TYPE_CHECKING:
    from commonpool.catalogue import Entry
    from commonpool.model import Dataset, Estate

FOLDER = "datasets"
_LONGEST_NAME = 63  # of any object of an estate


def search(target: Target, text: str, filters: Mapping[str, str], limit: int, output: Output) -> int:
    """What matches all words; without any, everything by name."""
    from commonpool.catalogue import open_index

    with closing(open_index(target.estate_folder() / FOLDER)) as index:
        with output.working("reading what changed in the catalogue"):
            index.refresh(thorough=False)
        found, total = index.search(text, limit=limit, **filters)
    if output.structured:
        output.document("DatasetList", items=[asdict(one) for one in found], total=total)
    elif not found:
        output.words("0 datasets; `commonpool dataset list` shows all" if text or any(filters.values()) else _NONE)
    else:
        rows = [_row(one) for one in found]
        headings = ["dataset", "name", "provider", "sharing", "update", "items"]
        output.data(output.table(headings, rows, left=5))
        if total > len(found):
            output.say(f"  {len(found)} of {count(total, 'dataset')}; --limit {total} shows all")
    return 0


_NONE = "0 datasets; a manifest in datasets/ makes the first, or `commonpool dataset import FILE`"


def _row(one: "Entry") -> list[str]:
    return [one.name, one.title, one.provider, one.sharing, one.update, str(one.items)]


def find(estate: "Estate", name: str) -> "Dataset":
    """A dataset by name, or the nearest one in the message."""
    from commonpool.model import shown

    found = estate.dataset(name)
    if found is None:
        step = nearest(name, [one.name for one in estate.datasets])
        raise CommandFailed(f"there is no dataset {shown(name)!r}", code="dataset_unknown", next_step=step)
    return found


def show(target: Target, name: str, output: Output) -> int:
    """One dataset: the core metadata, its items with what the dictionary says of them, who has it by which agreement."""
    estate = target.load()
    one = find(estate, name)
    if output.structured:
        manifest = one.model_dump(mode="json", by_alias=True, exclude_none=True)
        output.document("Dataset", metadata=manifest["metadata"], spec=manifest["spec"])
        return 0
    spec, sharing = one.spec, one.spec.sharing
    department = estate.department(spec.provider)
    terms = "; ".join(sharing.conditions)
    if sharing.basis:
        terms = f"{sharing.basis.law} {sharing.basis.article}, until {sharing.exemption_ends}"
    opened = "open to the public" if spec.openness.open else "not open to the public"
    facts = [
        ["code", spec.code],
        ["class", f"{spec.classification} ({spec.category}, {spec.role})"],
        ["provider", f"{spec.provider} ({department.spec.organisation.code})" if department else spec.provider],
        ["abstract", spec.abstract],
        ["sharing", f"{sharing.class_}{f': {terms}' if terms else ''}"],
        [
            "ways",
            f"{', '.join(spec.modes)}{f', service {spec.service}' if spec.service else ''}; {', '.join(spec.formats)}",
        ],
        ["openness", f"{opened}{f': {spec.openness.conditions}' if spec.openness.conditions else ''}"],
        ["update", f"{spec.update}, published {spec.published}"],
        ["filing", f"{spec.filing.number}, budget item {spec.filing.budget_item}"],
        ["agreements", ", ".join(f"{a.name} ({estate.standings[a.name].state})" for a in _on(estate, one)) or "none"],
    ]
    if spec.related:
        facts.append(["related", ", ".join(spec.related)])
    output.data(output.title(f"{spec.display_name} ({name})"))
    output.data(output.table(["", ""], facts, left=2))
    elements = estate.dictionary.elements if estate.dictionary else {}
    rows = []
    for item in spec.items:
        element = elements.get(item.element or "")
        sensitivity = item.sensitivity or (element.sensitivity if element else "internal")
        meaning = f"{element.code} {element.title}" if element else ""
        rows.append([item.name, item.title, item.type, sensitivity, item.origin, meaning])
    output.data("\n" + output.table(["item", "name", "type", "sensitivity", "origin", "element"], rows, left=6))
    return 0


def _on(estate: "Estate", dataset: "Dataset") -> "list[Any]":
    return [one for one in estate.agreements if one.spec.dataset == dataset.name]


def export(target: Target, form: str, output: Output) -> int:
    """The whole catalogue on standard output."""
    estate = target.load()
    if form == "csv":
        from commonpool.catalogue import table

        output.data(table.export(estate).rstrip("\n"))
    else:
        from commonpool.catalogue import dcat

        output.data(json.dumps(dcat.export(estate), ensure_ascii=False, indent=1))
    return 0


def import_file(
    target: Target, file: Path, provider: str, budget_item: str, output: Output, *, replace: bool, dry_run: bool
) -> int:
    """Write a manifest for each dataset of a file, all of them valid or none."""
    import tempfile

    import yaml

    from commonpool.catalogue.table import names
    from commonpool.cli.proposal import schema
    from commonpool.model import EstateRefused, show_path

    values = _read(file, provider, budget_item)
    for name in names(values):
        if "/" in name or name.startswith(".") or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise CommandFailed(f"{name[:_LONGEST_NAME]!r} is not a name", code="name_invalid")
    folder = target.estate_folder() / FOLDER
    texts = {
        str(one["metadata"]["name"]): _HEAD.format(schema=schema("Dataset", folder)) + _yaml(yaml, one)
        for one in values
    }
    if len(texts) != len(values):
        raise CommandFailed("two datasets of the file have the same name (资源标识)", code="name_duplicate")
    there = [name for name in texts if (folder / f"{name}.yaml").exists()]
    if there and not replace:
        raise CommandFailed(
            f"{count(len(there), 'dataset')} stand in the estate already: {', '.join(there[:5])}",
            code="exists",
            next_step="--replace writes them anew",
        )
    with tempfile.TemporaryDirectory(prefix="commonpool-") as scratch:
        drafts = []
        for name, text in texts.items():
            (Path(scratch) / f"{name}.yaml").write_text(text, encoding="utf-8")
            drafts.append(Path(scratch) / f"{name}.yaml")
        fresh = [path for path in drafts if path.stem not in there]
        try:
            target.load(fresh)
        except EstateRefused as error:
            raise EstateRefused([_told(one, scratch, file) for one in error.problems]) from None
    if dry_run:
        output.say(f"  {count(len(texts), 'dataset')} would be written to {show_path(folder, folder)}")
        _imported(texts, output, written=False)
        return 0
    folder.mkdir(exist_ok=True)
    before = {name: (folder / f"{name}.yaml").read_text(encoding="utf-8") for name in there}
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    try:
        target.load()
    except EstateRefused:
        for name in texts:
            path = folder / f"{name}.yaml"
            path.write_text(before[name], encoding="utf-8") if name in before else path.unlink()
        raise
    output.say(f"wrote {count(len(texts), 'dataset')} to {show_path(folder, folder)}")
    _imported(texts, output, written=True)
    return 0


def _imported(names: Iterable[str], output: Output, *, written: bool) -> None:
    if output.structured:
        output.document("DatasetImport", datasets=sorted(names), written=written)
    elif not written:
        output.data("\n".join(sorted(names)))


_HEAD = "# yaml-language-server: $schema={schema}\n"


def _yaml(yaml: Any, one: dict[str, Any]) -> str:  # noqa: ANN401
    return str(yaml.safe_dump(one, allow_unicode=True, sort_keys=False, width=110))


def _told(problem: Any, scratch: str, file: Path) -> Any:  # noqa: ANN401
    from dataclasses import replace

    return (
        replace(problem, file=problem.file.replace(f"{scratch}/", f"{file}: ")) if scratch in problem.file else problem
    )


def _read(file: Path, provider: str, budget_item: str) -> list[dict[str, Any]]:
    from commonpool.catalogue.dcat import CatalogueInvalid
    from commonpool.catalogue.dcat import manifests as from_dcat
    from commonpool.catalogue.table import TableInvalid
    from commonpool.catalogue.table import manifests as from_table

    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        step = f"save it as “CSV UTF-8”, or run: iconv -f GB18030 -t UTF-8 {file}"
        raise CommandFailed(
            f"{file} is not UTF-8 at byte {error.start}", code="import_invalid", next_step=step
        ) from None
    try:
        if file.suffix == ".csv":
            return from_table(text)
        return from_dcat(json.loads(text), provider=provider, budget_item=budget_item)
    except (CatalogueInvalid, TableInvalid, csv.Error, json.JSONDecodeError, RecursionError) as error:
        raise CommandFailed(f"{file}: {error}", code="import_invalid") from None
