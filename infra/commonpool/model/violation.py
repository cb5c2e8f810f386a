"""From what pydantic found wrong to problems with a place, our rule, who may change it and the edit that passes."""

import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from commonpool.model.base import meant
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
    fields = {field.casefold(): field for field in _fields_at(model, where[:-1])}
    return next((fields[word] for word in get_close_matches(str(where[-1]).casefold(), fields, n=1)), "")


def _problem(item: dict[str, Any], path: Path, name: str, model: type[BaseModel]) -> Problem:
    where: Location = tuple(part for part in item["loc"] if part not in ("[key]",))
    kind, context = item["type"], item.get("ctx") or {}
    who = WHO.get(model.__name__, "")
    place = ".".join(str(part) for part in where) or "the document"
    if kind == "extra_forbidden":
        line, column = locate_key(path, where)
        near = _near(model, where)
        fix = f"write {near}" if near else f"take it out; fields there are {_all(_fields_at(model, where[:-1]))}"
        return Problem(name, line, column, f"there is no field '{shown(place)}'", "field-unknown", who, fix)
    line, column = locate(path, where)
    if kind == "missing":
        field = ".".join([model.__name__.lower(), *(part for part in where if isinstance(part, str))])
        fix = f"add {where[-1]}: (`commonpool explain {field}` says what)"
        return Problem(name, line, column, f"{shown(place)} is missing", "field-missing", who, fix)
    if "fix" in context:
        return Problem(name, line, column, f"{shown(place)}: {context['message']}", kind, who, context["fix"])
    if kind == "value_error":
        words = str(context.get("error", item["msg"]))
        return Problem(
            name, line, column, f"{shown(place)}: {words}", "quantity-invalid", who, _quantity(item.get("input"))
        )
    rule, words, fix = _rule(item, _at(model, where), model)
    return Problem(name, line, column, f"{shown(place)}: {words}", rule, who, fix)


def _quantity(value: object) -> str:
    amount = nearest(value) if isinstance(value, str) else f'"{value}"' if isinstance(value, float) else ""
    return f"write {amount}" if amount else "write for instance 500m, 4 or 64Gi"


def _rule(item: dict[str, Any], field: FieldInfo | None, whole: type[BaseModel]) -> tuple[str, str, str]:
    """Rule, what is wrong, and the edit; `whole` is what the document is, where no field is meant."""
    kind, value, context = item["type"], item.get("input"), item.get("ctx") or {}
    if kind.endswith("_type"):
        wanted = kind.removesuffix("_type")
        words = f"wants {_WANTED.get(wanted, wanted)}, and has {_told(value)}"
        return "type-wrong", words, _retyped(wanted, value, inner_model(field.annotation) if field else whole)
    if kind == "literal_error":
        known = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        near = _alike(str(value), known)
        if len(known) == 1:
            return "value-unknown", f"{shown(value)!r} is not {known[0]}", f"write {known[0]}"
        fix = f"write {near[0]}" if value and len(near) == 1 else f"write one of {_all(known, 'or')}"
        return "value-unknown", f"{shown(value)!r} is none of {_all(known, 'or')}", fix
    if kind == "string_pattern_mismatch":
        expression = re.compile(context["pattern"])
        return (
            "value-out-of-range",
            f"{shown(value)!r} does not match {expression.pattern}",
            _fitting(str(value), expression, field),
        )
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    limits = [f"{word} {context[key]}" for key, word in bounds.items() if key in context]
    if limits:
        return "value-out-of-range", f"{shown(value)} is not {limits[0]}", f"write {limits[0]}"
    words = shown(item["msg"]).replace(" after validation", "")
    if "min_length" in context or "max_length" in context:
        limits = [f"{context['min_length']} or more" if "min_length" in context else f"at most {context['max_length']}"]
    return "value-out-of-range", words, f"write {limits[0]}" if limits else ""


_WANTED = {
    "list": "a list",
    "model": "fields with values",
    "dict": "names with values",
    "string": "text",
    "int": "a whole number",
    "bool": "true or false",
}


def _told(value: object) -> str:
    """What stands there, as its author wrote it."""
    match value:
        case None:
            return "nothing"
        case bool() | int() | float():
            return str(value).lower()
        case str():
            return f"the text '{shown(value)}'"
        case list():
            return "a list"
        case _:
            return "fields with values"


def _retyped(wanted: str, value: object, model: type[BaseModel] | None) -> str:
    """How the value is written where something else is wanted; `model` is what the field is made of, if of fields."""
    single = isinstance(value, (str, int, float))
    digits = unicodedata.normalize("NFKC", str(value)).strip()
    match wanted:
        case "string":
            return f'put it in quotes: "{_plain(value)}"' if single else "write one text"
        case "int":
            return f"write {digits}, without quotes" if digits.isdecimal() else "write a whole number"
        case "bool":
            return "write true or false"
        case "list" if single and not model:
            return f"write [{re.sub('[、，]', ', ', _plain(value).strip('【】'))}]"
        case "list" if isinstance(value, dict):
            return "write '- ' before the first of its fields, and indent the others as far"
        case "list":
            return "write its entries below it, each begun with '- '"
        case "model" if model:
            fields = {info.alias or name: info for name, info in model.model_fields.items()}
            required = [name for name, info in fields.items() if info.is_required()]
            if single and len(required) == 1 and inner_model(fields[required[0]].annotation) is None:
                return f"write {{{required[0]}: {_plain(value)}}}"
            return f"write its fields: {_all(required or list(fields))}"
        case _:
            return "write each as `name: value`"


def _plain(value: object) -> str:
    return shown(str(value).lower() if isinstance(value, bool) else value)


def _alike(value: str, known: Sequence[str]) -> list[str]:
    """The words that begin as the value does, else the one that is most like it; in whichever case it is written."""
    words = {word.casefold(): word for word in known}
    found = [word for word in words if word.startswith(value.casefold())]
    return [words[word] for word in found or get_close_matches(value.casefold(), words, n=1)]


def _fitting(value: str, expression: re.Pattern[str], field: FieldInfo | None) -> str:
    """The edit that makes a text fit: what was probably meant, else an example of the field's."""
    fits = meant(value, expression.search)
    if fits:
        return f'write "{fits}"'
    if field is None:
        return ""
    return f'write for instance "{field.examples[0]}"' if field.examples else f"it holds this: {field.description}"


def _all(words: Sequence[str], joint: str = "and") -> str:
    """`a, b and c`."""
    return f" {joint} ".join(one for one in (", ".join(words[:-1]), words[-1]) if one)


def _fields_at(model: type[BaseModel], where: Location) -> list[str]:
    """The field names that exist where an unknown one stands."""
    field = _at(model, where)
    current = inner_model(field.annotation) if field else None if any(isinstance(one, str) for one in where) else model
    return [info.alias or name for name, info in current.model_fields.items()] if current else []


def _at(model: type[BaseModel], where: Location) -> FieldInfo | None:
    """The field that a place is in; none for the document itself, and below what is made of no fields."""
    current: Any = model
    info: FieldInfo | None = None
    for part in where:
        if isinstance(part, int):
            continue
        fields = current.model_fields.items() if current else ()
        info = next((one for field, one in fields if (one.alias or field) == part), None)
        current = inner_model(info.annotation) if info else None
    return info


def inner_model(annotation: Any) -> Any:  # noqa: ANN401
    """The model inside an annotation such as `list[Item] | None`; None when there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = inner_model(argument)
        if found:
            return found
    return None
