"""One YAML file to plain values, with the place of every one of them.

YAML is read by libyaml; what it makes of the text is decided here by YAML 1.2's core schema, and whatever YAML 1.1
and 1.2 read differently must be in quotes: `no`, `017`, `1:30`, `1_000`, `1e3`, dates. Anchors, merge keys, tags and a
second document are refused: a manifest is data that a person can read from top to bottom.
"""

import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from commonpool.model.cache import Cache
from commonpool.model.problem import Problem, shown
from commonpool.model.syntax import mending

LARGEST_FILE = 1 << 20  # bytes; the largest manifest seen in practice is some 30 kB
DEEPEST = 32  # levels; the deepest field of the model is at 8
LONGEST_KNOWN = 64  # characters of a scalar whose tag is remembered
SUSPICIOUS = 5_000  # levels that a text may have room for before its nesting is counted first
_MAP, _SEQ, _STR = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:str"
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp"))
_KEY_TAGS = _PLAIN_TAGS | {"tag:yaml.org,2002:value"}  # a key `=` is a key
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_NUMBER_BY_1_2 = re.compile(r"[0-9]+(\.[0-9]*)?[eE][0-9]+|0o[0-7]+", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+", re.ASCII)
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEAN = {"true": True, "false": False}
Location = tuple[str | int, ...]
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):  # type: ignore[misc]  # which of two classes it is depends on the machine
    """PyYAML's own, without its resolvers by path, which nobody uses and which are asked at every node."""

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:  # noqa: ANN401
        """Nothing is resolved by its place."""

    def ascend_resolver(self) -> None:
        """Nothing is resolved by its place."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:  # noqa: ANN401
        """The tag of a node that names none: of a plain scalar by what it looks like, else by its kind."""
        if kind is not yaml.ScalarNode:
            return _SEQ if kind is yaml.SequenceNode else _MAP
        if not implicit[0]:
            return _STR
        return _known_tag(value) if len(value) <= LONGEST_KNOWN else _plain_tag(value)


def _plain_tag(value: str) -> str:
    """What a plain scalar looks like."""
    for tag, looks in _Loader.yaml_implicit_resolvers.get(value[:1], ()):
        if looks.match(value):
            return str(tag)
    return _STR


# A catalogue says few words many times.
_known_tag = lru_cache(maxsize=1 << 16)(_plain_tag)


_EMPTY = "take the file away, or write the manifest: `commonpool department new NAME` makes one of a department"


class _Refused(Exception):
    """Carries one problem out of the recursion."""

    def __init__(self, node: Any, message: str, rule: str, fix: str) -> None:  # noqa: ANN401
        super().__init__(message)
        self.problem = (node.start_mark, message, rule, fix)


@dataclass(frozen=True)
class Document:
    """The values of one file, and the problems that reading it met (then `values` is None)."""

    path: str
    values: Any
    problems: tuple[Problem, ...] = ()


def read(path: Path, name: str, cache: Cache | None = None) -> Document:
    """Read a manifest; `name` is what messages call it. Never raises for what the file holds."""
    content, problem = _content(path, name)
    if problem:
        return Document(name, None, (problem,))
    known = cache.values(content) if cache is not None else None
    if known is not None:
        return Document(name, known)
    text, problem = _text(content, name)
    if problem:
        return Document(name, None, (problem,))
    document = parse(text, name)
    if cache is not None and document.values is not None:
        cache.keep(content, document.values)
    return document


def parse(text: str, name: str) -> Document:
    """Plain values of a YAML text. Problems are collected, not raised; a broken syntax gives one."""
    try:
        node = _compose(text)
        if node is None:
            return Document(name, None, (Problem(name, 1, 1, "the document is empty", "document-empty", fix=_EMPTY),))
        builder = _Builder(name)
        values = builder.build(node, 0)
        return Document(name, None if builder.problems else values, tuple(builder.problems))
    except _Refused as refused:
        mark, message, rule, fix = refused.problem
        return Document(name, None, (Problem(name, mark.line + 1, mark.column + 1, message, rule, fix=fix),))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = " ".join(str(error.problem or error.context or error).split())
        rule, fix = "yaml-syntax", mending(text, words, mark, error.context_mark) if mark else ""
        if "single document" in str(error):
            rule, words = "document-many", "the file holds more than one document"
            fix = "split it: one manifest, one file"
        if "alias" in words:
            rule, fix = "yaml-alias", "write the values out"
        return Document(name, None, (Problem(name, line, column, shown(words), rule, fix=fix),))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        words = shown(" ".join(str(error).split()))
        return Document(name, None, (Problem(name, 1, 1, words or "the nesting is too deep", "yaml-syntax"),))


def _content(path: Path, name: str) -> tuple[bytes, Problem | None]:
    try:
        found = path.stat()
        if stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode) or stat.S_ISSOCK(found.st_mode):
            words = "this is a pipe, a socket or a device; reading it might never end"  # and no file of a repository
            return b"", Problem(name, 1, 1, words, "file-unreadable", fix="put the manifest itself here")
        if found.st_size > LARGEST_FILE:
            words = f"the file has {found.st_size:,} bytes; the limit is {LARGEST_FILE:,}"
            return b"", Problem(name, 1, 1, words, "file-size", fix="split it")
        return path.read_bytes(), None
    except OSError as error:
        return b"", Problem(name, 1, 1, f"the file cannot be read: {error.strerror}", "file-unreadable")


def _text(content: bytes, name: str) -> tuple[str, Problem | None]:
    def refuse(message: str, rule: str, fix: str = "", line: int = 1) -> tuple[str, Problem]:
        return "", Problem(name, line, 1, message, rule, fix=fix)

    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return refuse("the file is UTF-16", "file-encoding", "save it as UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return refuse(f"byte {error.start} is not UTF-8", "file-encoding", "save it as UTF-8", line)
    if "\0" in text:
        return refuse(
            "the file holds a NUL byte", "file-encoding", "take it out", text[: text.index("\0")].count("\n") + 1
        )
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if "\r" in text:
        return refuse("the file ends lines by CR alone", "file-encoding", "save it with LF line ends")
    return text, None


def _compose(text: str) -> Any:  # noqa: ANN401
    if _may_be_deep(text):
        _refuse_deep(text)
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _may_be_deep(text: str) -> bool:
    """Whether the text has room for nesting that would overrun the stack of libyaml's recursive composer.

    It dies somewhere beyond 20,000 levels. A flow level costs a bracket, a block level costs at least half a column.
    """
    brackets = text.count("[") + text.count("{")
    return brackets + 2 * max(map(len, text.split("\n")), default=0) > SUSPICIOUS


def _refuse_deep(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > DEEPEST + 1:
            raise _too_deep(event)


def _too_deep(node: Any) -> _Refused:  # noqa: ANN401
    return _Refused(
        node, f"the nesting is deeper than {DEEPEST} levels", "yaml-depth", "no field of the model is that deep"
    )


class _Builder:
    """Nodes to values; every node is visited once, so that no alias can make it explode."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.seen: set[int] = set()

    def refuse(self, node: Any, message: str, rule: str, fix: str = "") -> None:  # noqa: ANN401
        mark = node.start_mark
        self.problems.append(Problem(self.name, mark.line + 1, mark.column + 1, message, rule, fix=fix))

    def build(self, node: Any, depth: int) -> Any:  # noqa: ANN401
        if id(node) in self.seen:
            raise _Refused(node, "anchors and aliases are not allowed", "yaml-alias", "write the values out")
        self.seen.add(id(node))
        if depth > DEEPEST:
            raise _too_deep(node)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if node.tag not in (_MAP, _SEQ):
            self.refuse(node, f"the tag {shown(node.tag)} is not allowed", "yaml-tag", "write the plain value")
            return None
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, depth + 1) for item in node.value]
        return self.mapping(node, depth)

    def mapping(self, node: Any, depth: int) -> dict[str, Any]:  # noqa: ANN401
        values: dict[str, Any] = {}
        marks: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                left = isinstance(key_node, yaml.MappingNode) and key_node.flow_style
                fix = "write the value itself instead of the template's {{ … }}" if left else "write one word"
                self.refuse(key_node, "a key must be a word", "yaml-key", fix)
                continue
            key = key_node.value
            if key_node.tag == "tag:yaml.org,2002:merge":
                self.refuse(key_node, "merge keys are not allowed", "yaml-merge", "write the values out")
                continue
            if key_node.tag not in _KEY_TAGS:
                self.refuse(
                    key_node, f"the tag {shown(key_node.tag)} is not allowed", "yaml-tag", "write the plain key"
                )
                continue
            if key in values:
                first = marks[key]
                self.refuse(
                    key_node,
                    f"the key {shown(key)!r} stands twice; the first is at line {first.line + 1}, column {first.column + 1}",
                    "key-duplicate",
                    "take one of the two out",
                )
            marks[key] = key_node.start_mark
            values[key] = self.build(value_node, depth + 1)
        return values

    def scalar(self, node: Any) -> Any:  # noqa: ANN401
        text, tag = node.value, node.tag
        quoted = bool(node.style)  # None or "" by parser, where the scalar is plain
        if tag not in _PLAIN_TAGS or (quoted and tag != _STR):
            if tag == "tag:yaml.org,2002:merge" or tag == "tag:yaml.org,2002:value":
                return text
            self.refuse(node, f"the tag {shown(tag)} is not allowed", "yaml-tag", "write the plain value")
            return None
        if quoted or (tag == _STR and not _INTEGER.fullmatch(text) and not _number_by_1_2(text)):
            return text
        if text in _NULL:
            return None
        if text in _BOOLEAN:
            return _BOOLEAN[text]
        if _INTEGER.fullmatch(text) and len(text) < 20:
            return int(text)
        if _DECIMAL.fullmatch(text):
            return float(text)
        self.refuse(
            node,
            f"{shown(text)!r} means different things to different YAML readers",
            "scalar-ambiguous",
            f'put it in quotes: "{shown(text)}"',
        )
        return text


def _number_by_1_2(text: str) -> bool:
    # YAML 1.2 reads 1e3 and 0o17 as numbers, YAML 1.1 as text.
    return bool(_NUMBER_BY_1_2.fullmatch(text)) and len(text) < 8


def locate(path: Path, where: Location) -> tuple[int, int]:
    """Line and column of a value, from 1; of the deepest part of `where` that the file holds.

    Reads the file again: positions are wanted only when something is wrong, and ten thousand trees of nodes would not
    fit in memory.
    """
    node = _read_again(path)
    mark = node.start_mark if node is not None else None
    for part in where:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                break
            key_node, node = found
            mark = key_node.start_mark if not isinstance(node, yaml.ScalarNode) else node.start_mark
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _read_again(path: Path) -> Any:  # noqa: ANN401
    try:
        return _compose(path.read_text(encoding="utf-8").removeprefix("\ufeff").replace("\r\n", "\n"))
    except (OSError, ValueError, yaml.YAMLError, _Refused):
        return None


def locate_key(path: Path, where: Location) -> tuple[int, int]:
    """Line and column of the key itself, for a key that should not be there."""
    node = _read_again(path)
    for part in where[:-1]:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value == where[-1]:
            return key.start_mark.line + 1, key.start_mark.column + 1
    return locate(path, where)
