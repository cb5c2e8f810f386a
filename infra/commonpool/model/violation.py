"""From what pydantic found wrong to problems with a place, our rule, who may change it and the edit that passes."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from commonpool.model.document import Location, locate, locate_key
from commonpool.model.problem import Problem, shown

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
    return [_problem(dict(item), path, name, model) for item in error.errors(include_url=False)]


def _problem(item: dict[str, Any], path: Path, name: str, model: type[BaseModel]) -> Problem:
    where: Location = tuple(part for part in item["loc"] if part not in ("[key]",))
    kind, context = item["type"], item.get("ctx") or {}
    who = WHO.get(model.__name__, "")
    place = ".".join(str(part) for part in where) or "the document"
    if kind == "extra_forbidden":
        line, column = locate_key(path, where)
        near = get_close_matches(str(where[-1]), _fields_at(model, where[:-1]), n=1)
        fix = f"write {near[0]}" if near else "take it out"
        return Problem(name, line, column, f"there is no field {shown(place)!r}", "field-unknown", who, fix)
    line, column = locate(path, where)
    if kind == "missing":
        return Problem(name, line, column, f"{shown(place)} is missing", "field-missing", who, f"add {where[-1]}:")
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
            "write for instance 500m, 4 or 64Gi",
        )
    rule, fix = _rule(kind, item)
    return Problem(name, line, column, f"{shown(place)}: {shown(item['msg'])}", rule, who, fix)


def _rule(kind: str, item: dict[str, Any]) -> tuple[str, str]:
    if kind.endswith("_type"):
        value = item.get("input")
        quoted = isinstance(value, (int, float, bool)) and "string" in kind
        return (
            "type-wrong",
            f'put it in quotes: "{shown(value)}"' if quoted else f"write a {kind.removesuffix('_type')}",
        )
    if kind == "literal_error":
        expected = str((item.get("ctx") or {}).get("expected", ""))
        words = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        near = get_close_matches(str(item.get("input")), words, n=1)
        return "value-unknown", f"write {near[0]}" if near else f"write one of {expected}"
    context = item.get("ctx") or {}
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    words = [f"{word} {context[key]}" for key, word in bounds.items() if key in context]
    if "min_length" in context or "max_length" in context:
        words = [f"{context['min_length']} or more" if "min_length" in context else f"at most {context['max_length']}"]
    return "value-out-of-range", f"write {' and '.join(words)}" if words else ""


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
