"""From what pydantic found wrong to problems with a place, our rule, who may change it and the edit that passes."""

import re
import unicodedata
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from commonpool.model.document import Location, locate, locate_key
from commonpool.model.problem import Problem, shown
from commonpool.model.quantity import nearest

WHO = {
    "Pool": "the pool's operators (pool.yaml)",
    "Department": "the department (its own manifest)",
    "SharedService": "the team that offers the service (its own manifest)",
    "Dataset": "the department that provides the dataset (its manifest)",
    "Dictionary": "the data governance office (dictionary.yaml)",
    "Holidays": "the data governance office (holidays.yaml)",
    "Agreement": "provider and consumer together (a changed text needs both signatures anew)",
    "Statement": "the department that signed (its own statement)",
    "SharingRequest": "the department that asks, and for the decision the one that is asked",
    "Correction": "the department that found the error, and for the outcome the one that provides the data",
    "Progress": "the department (its own milestones)",
}


def problems_of(error: ValidationError, path: Path, name: str, model: type[BaseModel]) -> list[Problem]:
    """Errors of pydantic with file, line, column, our rule and the edit that passes."""
    items: list[dict[str, Any]] = [dict(item) for item in error.errors(include_url=False)]
    misspelt = {(*item["loc"][:-1], _near(model, item["loc"])) for item in items if item["type"] == "extra_forbidden"}
    # A field that is only misspelt is not missing as well: whoever followed both edits would write it twice.
    wrong = [item for item in items if item["type"] != "missing" or item["loc"] not in misspelt]
    return [_problem(item, path, name, model) for item in wrong]


def _near(model: type[BaseModel], where: Location) -> str:
    """The field that an unknown one was probably meant to be; empty when none is like it."""
    return next(iter(get_close_matches(str(where[-1]), _fields_at(model, where[:-1]), n=1)), "")


def _problem(item: dict[str, Any], path: Path, name: str, model: type[BaseModel]) -> Problem:
    where: Location = tuple(part for part in item["loc"] if part not in ("[key]",))
    kind, context = item["type"], item.get("ctx") or {}
    who = WHO.get(model.__name__, "")
    place = ".".join(str(part) for part in where) or "the document"
    if kind == "extra_forbidden":
        line, column = locate_key(path, where)
        near = _near(model, where)
        fix = f"write {near}" if near else "take it out"
        return Problem(name, line, column, f"there is no field {shown(place)!r}", "field-unknown", who, fix)
    line, column = locate(path, where)
    if kind == "missing":
        field = ".".join([model.__name__.lower(), *(part for part in where if isinstance(part, str))])
        fix = f"add {where[-1]}: (`commonpool explain {field}` says what)"
        return Problem(name, line, column, f"{shown(place)} is missing", "field-missing", who, fix)
    if "fix" in context:
        return Problem(name, line, column, f"{shown(place)}: {context['message']}", kind, who, context["fix"])
    if kind == "value_error":
        return Problem(
            name,
            line,
            column,
            f"{shown(place)}: {context.get('error', item['msg'])}",
            "quantity-invalid",
            who,
            _quantity(item.get("input")),
        )
    rule, words, fix = _rule(kind, item)
    return Problem(name, line, column, f"{shown(place)}: {words}", rule, who, fix)


def _quantity(value: object) -> str:
    meant = nearest(value) if isinstance(value, str) else ""
    return f"write {meant}" if meant else "write for instance 500m, 4 or 64Gi"


def _rule(kind: str, item: dict[str, Any]) -> tuple[str, str, str]:
    """Rule, what is wrong, and the edit."""
    value, words, context = item.get("input"), shown(item["msg"]), item.get("ctx") or {}
    if kind.endswith("_type"):
        quoted = isinstance(value, (int, float, bool)) and "string" in kind
        fix = f'put it in quotes: "{shown(value)}"' if quoted else f"write a {kind.removesuffix('_type')}"
        return "type-wrong", words, fix
    if kind == "literal_error":
        expected = str(context.get("expected", "")).replace("'", "")
        known = expected.replace(" or ", ", ").split(", ")
        near = [word for word in known if word.startswith(str(value))] or get_close_matches(str(value), known, n=1)
        fix = f"write {near[0]}" if value and len(near) == 1 else f"write one of {expected}"
        return "value-unknown", f"{shown(value)!r} is none of {expected}", fix
    if kind == "string_pattern_mismatch":
        meant = unicodedata.normalize("NFKC", str(value)).strip(" \"'“”‘’")
        fits = meant != value and re.search(context["pattern"], meant)
        words = f"{shown(value)!r} does not match {context['pattern']}"
        return "value-out-of-range", words, f'write "{meant}"' if fits else ""
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    limits = [f"{word} {context[key]}" for key, word in bounds.items() if key in context]
    if "min_length" in context or "max_length" in context:
        limits = [f"{context['min_length']} or more" if "min_length" in context else f"at most {context['max_length']}"]
    return "value-out-of-range", words, f"write {' and '.join(limits)}" if limits else ""


def _fields_at(model: type[BaseModel], where: Location) -> list[str]:
    """The field names that exist where an unknown one stands."""
    current: Any = model
    for part in where:
        if isinstance(part, int):
            continue
        info = next((info for field, info in current.model_fields.items() if (info.alias or field) == part), None)
        current = inner_model(info.annotation) if info else None
        if current is None:
            return []
    return [info.alias or name for name, info in current.model_fields.items()]


def inner_model(annotation: Any) -> Any:  # noqa: ANN401
    """The model inside an annotation such as `list[Item] | None`; None when there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = inner_model(argument)
        if found:
            return found
    return None
