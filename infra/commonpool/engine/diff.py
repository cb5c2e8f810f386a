"""What differs between two Kubernetes objects, in words a person reads in a preview. Pure.

Only what somebody declared is compared: what the server keeps for itself (status, managedFields, versions) and our own
marks are left out. Values of Secrets never get into a result, neither the old ones nor the new.
It is no patch format: nothing is ever applied from it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from types import EllipsisType
from typing import Any, Literal

from commonpool.engine.error import Refused
from commonpool.engine.event import FieldChange
from commonpool.engine.mask import MASK
from commonpool.engine.record import MARKS

LONGEST_REASON = 240
Path = tuple[str | int, ...]

_SERVER_METADATA = frozenset(
    {"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink", "deletionTimestamp"}
)
# kubectl's annotation repeats the whole object, values of Secrets included.
_MARKS = MARKS | {"kubectl.kubernetes.io/last-applied-configuration"}

# By which keys the elements of a list are the same element, as the API's own merge keys say; by the list's field name.
_BY_NAME = (
    "containers initContainers ephemeralContainers volumes env imagePullSecrets secrets versions webhooks listeners "
    "variables matchConditions resourceClaims schedulingGates"
)
_MERGE_KEYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    **{field: (("name",),) for field in _BY_NAME.split()},
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "hostAliases": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "ownerReferences": (("uid",),),
    "taints": (("key", "effect"),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),  # of containers; of services and policies
}
_DEFAULTS = {"protocol": "TCP"}  # declared or not, it is the same port
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_QUOTED = re.compile(r"Invalid value: [^\n]{60,}(?=: )")  # to the last colon, behind which the reason stands
_IMMUTABLE = re.compile(
    r"immutable|may not be changed|may not change|cannot be changed|cannot change|updates to .* are forbidden"
)


@dataclass(frozen=True)
class Element:
    """A step of a path into a list: the element with this label, for instance `name=web`."""

    label: str


_Path = tuple[str | int | Element, ...]
_Pattern = tuple[str | int | EllipsisType, ...]  # 0 stands for every index, ... for every key
_Difference = tuple[_Path, Literal["+", "-", "~"], object, object]


def field_changes(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    *,
    secret: bool = False,
    secret_paths: Iterable[Path] = (),
    ignore: Iterable[Path] = (),
) -> tuple[FieldChange, ...]:
    """The fields that differ, in the order of the new object.

    A Secret's data are masked in any case. `secret_paths` masks what lies at the given paths (an index in them stands
    for every element of the list); `secret` without any paths masks every value of an object that is no Secret,
    because then nobody knows which it is. `ignore` leaves out what lies at its paths. Paths in the
    result read `spec.template.spec.containers[name=web].image`.
    """
    masks: list[_Pattern] = [_pattern(path) for path in secret_paths]
    is_secret = "Secret" in ((old or {}).get("kind"), (new or {}).get("kind"))
    if is_secret:
        masks += [("data", ...), ("stringData", ...)]
    comparison = _Comparison(tuple(masks), tuple(map(_pattern, ignore)))
    everything = secret and not masks
    return tuple(
        FieldChange(show(path), sign, *(comparison.mask(path, value, everything) for value in values))
        for path, sign, *values in comparison.differences(_declared(old), _declared(new), ())
    )


def immutable_refusal(error: Refused) -> bool:
    """Whether the server refused because a field cannot be changed in place, so that only a replacement helps."""
    return error.status == 422 and bool(_IMMUTABLE.search(str(error)))


def immutable_words(error: Refused) -> str:
    """The refusal as a reason: servers quote whole pod templates, which nobody reads."""
    text = _QUOTED.sub("Invalid value: …", str(error))
    if len(text) > LONGEST_REASON:
        text = f"{text[: LONGEST_REASON // 2]} … {text[-LONGEST_REASON // 2 :]}"
    return f"a field that cannot be changed in place differs: {text}"


def show(path: Iterable[str | int | Element]) -> str:
    """For instance `metadata.labels["app.kubernetes.io/name"]`, `rules[0]`, `spec.containers[name=web].image`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif isinstance(step, Element):
            text += f"[{step.label}]"
        elif _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


@dataclass(frozen=True)
class _Comparison:
    masks: tuple[_Pattern, ...]
    ignored: tuple[_Pattern, ...]

    def differences(self, old: Any, new: Any, path: _Path) -> Iterator[_Difference]:  # noqa: ANN401
        if old == new or any(_within(path, pattern) for pattern in self.ignored):
            return
        hidden = any(_within(path, mask) for mask in self.masks)  # then not even the keys inside are shown
        if not hidden and _nested(old, new, Mapping):
            for key in (*(new or {}), *(key for key in old or {} if key not in (new or {}))):
                yield from self.differences((old or {}).get(key), (new or {}).get(key), (*path, key))
        elif not hidden and _nested(old, new, list):
            for step, was, now in _pairs(str(path[-1]) if path else "", old or [], new or []):
                yield from self.differences(was, now, (*path, step))
        else:
            yield path, "+" if old is None else "-" if new is None else "~", old, new

    def mask(self, path: _Path, value: object, everything: bool) -> object:
        """A value at or below a masked path, or one that holds a masked path inside."""
        if value is None:
            return None
        hidden = everything or any(_within(path, mask) or _within(mask, _pattern(path)) for mask in self.masks)
        return MASK if hidden else value


def _nested(old: object, new: object, shape: type) -> bool:
    """Whether to look inside: both have the shape, or one does, is not empty, and the other is missing."""
    if old is None or new is None:
        present = new if old is None else old
        return isinstance(present, shape) and bool(present) and not _is_scalar_list(present)
    return isinstance(old, shape) and isinstance(new, shape)


def _is_scalar_list(value: object) -> bool:
    return isinstance(value, list) and not any(isinstance(item, Mapping | list) for item in value)


def _pairs(field: str, old: list[Any], new: list[Any]) -> Iterator[tuple[int | Element, Any, Any]]:
    """The elements that belong together: by merge key where the API has one, else by what is equal around them."""
    for keys in _MERGE_KEYS.get(field, ()):
        before, after = _labelled(old, keys), _labelled(new, keys)
        if before is not None and after is not None:
            for label in (*after, *(label for label in before if label not in after)):
                yield Element(label), before.get(label), after.get(label)
            return
    yield from _moved(old, new)


def _moved(old: list[Any], new: list[Any]) -> Iterator[tuple[int, Any, Any]]:
    """One element more in front of a list is one difference, not as many as there are elements behind it."""
    was_texts, now_texts = ([json.dumps(one, sort_keys=True, default=str) for one in items] for items in (old, new))
    for word, start, end, start_new, end_new in SequenceMatcher(
        None, was_texts, now_texts, autojunk=False
    ).get_opcodes():
        for offset in range(max(end - start, end_new - start_new) if word != "equal" else 0):
            was, now = start + offset, start_new + offset
            index = now if now < end_new else was
            yield index, old[was] if was < end else None, new[now] if now < end_new else None


def _labelled(items: list[Any], keys: Sequence[str]) -> dict[str, Any] | None:
    """The items by their label; None when a key is missing somewhere or two share one."""
    if not all(isinstance(item, Mapping) and keys[0] in item for item in items):
        return None
    labelled = {
        ",".join(f"{key}={item[key]}" for key in keys if key in item and item[key] != _DEFAULTS.get(key)): item
        for item in items
    }
    return labelled if len(labelled) == len(items) else None


def _declared(body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if body is None:
        return None
    metadata = {key: value for key, value in body.get("metadata", {}).items() if key not in _SERVER_METADATA}
    for field in ("labels", "annotations"):
        kept = {key: value for key, value in (metadata.pop(field, None) or {}).items() if key not in _MARKS}
        if kept:
            metadata[field] = kept
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def _pattern(path: Iterable[str | int | Element | EllipsisType]) -> _Pattern:
    return tuple(0 if isinstance(step, int | Element) else step for step in path)


def _within(path: Iterable[str | int | Element | EllipsisType], pattern: _Pattern) -> bool:
    """Whether the pattern is the path's beginning, or all of it."""
    steps = _pattern(path)
    return len(steps) >= len(pattern) and all(
        want is ... or step is ... or step == want for step, want in zip(steps, pattern, strict=False)
    )
