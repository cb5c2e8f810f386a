"""A folder of manifests as one estate: everything that people edit, read at once or refused with every problem at once."""

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pydantic_core
from pydantic import BaseModel, ValidationError

from commonpool.model import garbage
from commonpool.model.agreement import Agreement
from commonpool.model.base import suggestion
from commonpool.model.cache import Cache, opened
from commonpool.model.dictionary import Dictionary
from commonpool.model.document import locate, read
from commonpool.model.estate import FOLDERS, Estate, show_path
from commonpool.model.inventory import Machine, read_inventory
from commonpool.model.pool import Pool
from commonpool.model.problem import EstateRefused, Problem, shown
from commonpool.model.statement import Statement, text_digest
from commonpool.model.violation import WHO, problems_of
from commonpool.model.working_day import Holidays

M = TypeVar("M", bound=BaseModel)
_ENDINGS = (".yaml", ".yml")
POOL_FILE, DICTIONARY_FILE, HOLIDAYS_FILE = "pool.yaml", "dictionary.yaml", "holidays.yaml"


def load_estate(root: Path, proposed: Sequence[Path] = (), *, agreeing: bool = False) -> Estate:
    """Read an estate. Raises `EstateRefused` with all problems of all files; nothing is half read.

    `proposed` are manifests that lie elsewhere and are read as though they were in the estate. `agreeing` is for whoever
    brings an agreement about: what is wrong only because there is none yet, or not both have signed, is no problem then.
    """
    from commonpool.model.agreement_check import UNDER_WAY
    from commonpool.model.checks import check

    with garbage.put_off():
        cache = opened(root)
        reader = _Reader(root, cache)
        estate = _read(reader, proposed)
        cache.save()
        problems = [*reader.problems, *reader.misnamed]
        if estate is not None and not reader.problems:
            problems += [one for one in check(estate) if not (agreeing and one.rule in UNDER_WAY)]
        if estate is None or problems:
            raise EstateRefused(problems)
        return estate


@dataclass
class _Reader:
    """Reads the manifests of one estate and remembers what it met.

    A manifest in `problems` is left out, and what refers to it cannot be judged; one in `misnamed` only has another name than
    its file.
    """

    root: Path
    cache: Cache
    problems: list[Problem] = field(default_factory=list)
    misnamed: list[Problem] = field(default_factory=list)
    sources: dict[str, Path] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def folder(self, word: str, proposed: Sequence[Path]) -> list[Any]:
        """Every manifest of a kind, sorted by name; `proposed` are further files of it."""
        folder, model = FOLDERS[word]
        paths = (*_files(self.root / folder, self.root, self.problems), *proposed)
        found = [(path.stem, one) for path in paths if (one := self.manifest(path, model, word))]
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]

    def statements(self, proposed: Sequence[Path]) -> dict[str, Statement]:
        """Every signed statement by the name of its file."""
        folder, _ = FOLDERS["statement"]
        paths = (*_files(self.root / folder, self.root, self.problems), *proposed)
        return {path.stem: one for path in paths if (one := self.manifest(path, Statement, "statement"))}

    def manifest(self, path: Path, model: type[M], word: str) -> M | None:
        """One manifest, or None and its problems; the only ones of their kind are keyed by their word alone."""
        name = show_path(path, self.root)
        document = read(path, name, self.cache)
        self.problems += document.problems
        if document.problems:
            return None
        try:
            manifest = model.model_validate(document.values)
        except ValidationError as error:
            self.problems += problems_of(error, path, name, model)
            return None
        key = word
        if word in FOLDERS:
            own = path.stem if word == "statement" else str(manifest.metadata.name)  # type: ignore[attr-defined]
            key = f"{word}/{own}"
            self._name(path, name, model, key, own)
        self.sources[key] = path
        self.digests[key] = hashlib.sha256(pydantic_core.to_json(document.values)).hexdigest()
        if isinstance(manifest, Agreement):
            self._text(path, name, manifest, document.values)
        return manifest

    def _text(self, path: Path, name: str, agreement: Agreement, values: Any) -> None:  # noqa: ANN401
        try:
            self.texts[agreement.name] = text_digest(values)
        except ValueError as error:  # a number that readers of JSON round, each in its way
            line, column = locate(path, ("spec",))
            words, fix = f"its text cannot be signed: {error}", "write numbers below 2^53, or quantities with a unit"
            self.problems.append(Problem(name, line, column, words, "agreement-text", WHO["Agreement"], fix))

    def _name(self, path: Path, name: str, model: type[BaseModel], key: str, own: str) -> None:
        def problem(message: str, rule: str, who: str, fix: str) -> Problem:
            return Problem(name, *locate(path, ("metadata", "name")), message, rule, who, fix)

        if path.stem != own:
            words = f"the name {own!r} differs from the file's"
            fix = f"rename the file to {own}.yaml, or the manifest to {suggestion(path.stem, 40)}"
            self.misnamed.append(problem(words, "file-name", WHO[model.__name__], fix))
        if key in self.sources:
            words = f"{own!r} is declared in {shown(show_path(self.sources[key], self.root))} too"
            self.problems.append(problem(words, "name-duplicate", Problem.who, "choose another name"))


def _read(reader: _Reader, proposed: Sequence[Path]) -> Estate | None:
    root = reader.root
    if not (root / POOL_FILE).is_file():
        problem = Problem(
            show_path(root / POOL_FILE, root),
            1,
            1,
            "there is no pool.yaml, so this folder is no estate",
            "estate-missing",
            WHO["Pool"],
            "name the estate's folder with --estate",
        )
        reader.problems.append(problem)
        return None
    _misspelt(root, reader.problems)
    linked = {
        name for name in (POOL_FILE, DICTIONARY_FILE, HOLIDAYS_FILE) if _leaves(root / name, root, reader.problems)
    }
    pool = None if POOL_FILE in linked else reader.manifest(root / POOL_FILE, Pool, "pool")
    elsewhere = [path for path in proposed if not _in_place(path, root)]
    further = {word: [path for path in elsewhere if _word(path) == word] for word in FOLDERS}
    found = {word: reader.folder(word, further[word]) for word in FOLDERS if word != "statement"}
    statements = reader.statements(further["statement"])
    dictionary = None
    if DICTIONARY_FILE not in linked and (root / DICTIONARY_FILE).is_file():
        dictionary = reader.manifest(root / DICTIONARY_FILE, Dictionary, "dictionary")
    holidays = None
    if HOLIDAYS_FILE not in linked and (root / HOLIDAYS_FILE).is_file():
        holidays = reader.manifest(root / HOLIDAYS_FILE, Holidays, "holidays")
    if pool is None:
        return None
    machines = _machines(pool, reader)
    told = [[one.name, one.site, one.address, one.facts] for one in machines]
    reader.digests["machines"] = hashlib.sha256(pydantic_core.to_json(told)).hexdigest()
    return Estate(
        root,
        pool,
        tuple(machines),
        tuple(found["department"]),
        tuple(found["service"]),
        reader.digests,
        reader.sources,
        datasets=tuple(found["dataset"]),
        dictionary=dictionary,
        agreements=tuple(found["agreement"]),
        statements=statements,
        texts=reader.texts,
        requests=tuple(found["request"]),
        corrections=tuple(found["correction"]),
        progress=tuple(found["progress"]),
        own_holidays=holidays,
    )


def _in_place(path: Path, root: Path) -> bool:
    """Whether the estate holds it already, however its path is spelled."""
    found = path.resolve()
    own = {(root / name).resolve() for name in (POOL_FILE, DICTIONARY_FILE)}
    return found in own or found.parent in {(root / folder).resolve() for folder, _ in FOLDERS.values()}


def _word(path: Path) -> str:
    """What a proposed manifest says that it is; what says nothing is read as a department's."""
    values = read(path, path.name).values
    kind = values.get("kind") if isinstance(values, dict) else None
    return next((word for word, (_, model) in FOLDERS.items() if model.__name__ == kind), "department")


def _files(folder: Path, root: Path, problems: list[Problem]) -> list[Path]:
    if _leaves(folder, root, problems):
        return []
    if not folder.is_dir():
        if folder.is_symlink():
            words = f"{shown(folder.name)} is a link to nothing, and without its manifests everything in them would be given up"
            problems.append(
                Problem(show_path(folder, root), 1, 1, words, "file-link", fix="put the folder itself here")
            )
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix != ".yaml":
            _overlooked(path, root, problems)
        elif not _leaves(path, root, problems):
            found.append(path)
    return found


def _misspelt(root: Path, problems: list[Problem]) -> None:
    """A folder that was meant to be one of ours: else its manifests would be passed over, and all that they declare given up."""
    known = {folder.partition("/")[0] for folder, _ in FOLDERS.values()}
    for path in sorted(root.iterdir()):
        if path.name in known:
            continue
        meant = difflib.get_close_matches(path.name.lower(), known, 1, cutoff=0.85)
        if meant and _holds_manifests(path):
            words = f"no manifest is looked for in {shown(path.name)}"
            problems.append(Problem(show_path(path, root), 1, 1, words, "file-name", fix=f"rename it to {meant[0]}"))


def _overlooked(path: Path, root: Path, problems: list[Problem]) -> None:
    """What its author takes for a manifest, and is none by its name or its place, is told and not passed over in silence."""

    def refuse(words: str, fix: str) -> None:
        problems.append(Problem(show_path(path, root), 1, 1, words, "file-name", fix=fix))

    if path.suffix.lower() in _ENDINGS:
        refuse("manifests end in .yaml", f"rename it to {shown(path.stem)}.yaml")
    elif path.name.startswith(".") or path in {root / folder for folder, _ in FOLDERS.values()}:
        return
    elif _holds_manifests(path):
        refuse(
            f"no manifest is looked for in {shown(path.name)}",
            f"put its manifests into {shown(path.parent.name)} itself",
        )


def _holds_manifests(path: Path) -> bool:
    try:
        return path.is_dir() and not path.is_symlink() and any(one.suffix.lower() in _ENDINGS for one in path.iterdir())
    except OSError:
        return False  # somebody else's, and no part of a repository


def _leaves(path: Path, root: Path, problems: list[Problem]) -> bool:
    """Whether a file or a folder is a link out of the estate: what it leads to would be told in messages, or never end."""
    if not path.is_symlink():
        return False
    try:
        if path.resolve().is_relative_to(root.resolve()):
            return False
        words, fix = f"{shown(path.name)} is a link that leaves the estate", "put what it leads to here itself"
    except (OSError, RuntimeError):  # the latter in Python before 3.13; later ones fail to read it
        words, fix = f"{shown(path.name)} is a link that leads round to itself", "put a manifest here itself"
    problems.append(Problem(show_path(path, root), 1, 1, words, "file-link", fix=fix))
    return True


def _machines(pool: Pool, reader: _Reader) -> list[Machine]:
    root = reader.root
    machines: list[Machine] = []
    seen: dict[str, str] = {}
    for index, site in enumerate(pool.spec.compute.sites):
        path = root / site.inventory
        if not path.is_file():
            line, column = locate(root / POOL_FILE, ("spec", "compute", "sites", index, "inventory"))
            reader.problems.append(
                Problem(
                    show_path(root / POOL_FILE, root),
                    line,
                    column,
                    f"there is no inventory {shown(site.inventory)}",
                    "inventory-missing",
                    WHO["Pool"],
                    "correct the path; it is relative to pool.yaml",
                )
            )
            continue
        found, wrong = read_inventory(path, show_path(path, root), site.name, reader.cache)
        reader.problems += wrong
        for machine in found:
            if machine.name in seen:
                reader.problems.append(
                    Problem(
                        *machine.source,
                        f"machine {machine.name} stands in {seen[machine.name]} too",
                        "machine-duplicate",
                        WHO["Pool"],
                        "give one of the two another name",
                    )
                )
            seen[machine.name] = machine.file
        machines += found
    return sorted(machines, key=lambda machine: machine.name)
