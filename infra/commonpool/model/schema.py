"""JSON Schemas of the manifests, and the same text for `commonpool explain`: the models are the documentation."""

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from commonpool.model.agreement import Agreement
from commonpool.model.correction import Correction
from commonpool.model.dataset import Dataset
from commonpool.model.department import Department
from commonpool.model.dictionary import Dictionary
from commonpool.model.pool import Pool
from commonpool.model.problem import ModelError
from commonpool.model.progress import Progress
from commonpool.model.request import SharingRequest
from commonpool.model.service import SharedService
from commonpool.model.statement import Statement
from commonpool.model.violation import inner_model
from commonpool.model.working_day import Holidays

KINDS: dict[str, type[BaseModel]] = {
    one.__name__: one
    for one in (
        Pool,
        Department,
        SharedService,
        Dictionary,
        Dataset,
        Agreement,
        Statement,
        SharingRequest,
        Correction,
        Progress,
        Holidays,
    )
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a kind; raises KeyError for an unknown one."""
    schema = KINDS[kind].model_json_schema(by_alias=True)
    return {"$schema": DIALECT, "$id": f"https://commonpool.dev/schemas/v1/{kind.lower()}.json", **schema}


class FieldUnknown(ModelError):
    """There is no such kind or field; `known` are the ones that exist there."""

    def __init__(self, place: str, name: str, known: list[str]) -> None:
        """`place` is what has no such field; empty for a kind."""
        super().__init__(f"{place} has no field {name!r}" if place else f"there is no kind {name!r}")
        self.name, self.known = name, known


def field_paths(start: str) -> list[str]:
    """The paths one level below what `start` names so far, for completion."""
    head = start.rpartition(".")[0]
    if not head:
        return [name.lower() for name in KINDS]
    model = _model_at(head)[1]
    return [f"{head}.{field.alias or name}" for name, field in model.model_fields.items()] if model else []


def explain_field(path: str) -> str:
    """What a field means: `department.spec.namespaces.resources`. Raises `FieldUnknown`."""
    return _describe(path, *_model_at(path))


def _model_at(path: str) -> tuple[FieldInfo | None, Any]:
    head, *parts = path.split(".")
    model: Any = next((model for name, model in KINDS.items() if name.lower() == head.lower()), None)
    if model is None:
        raise FieldUnknown("", head, list(KINDS))
    info: FieldInfo | None = None
    for index, part in enumerate(parts):
        fields = {field.alias or name: field for name, field in model.model_fields.items()} if model else {}
        if part not in fields:
            raise FieldUnknown(".".join([head, *parts[:index]]), part, list(fields))
        info = fields[part]
        model = inner_model(info.annotation)
    return info, model


def _describe(path: str, info: FieldInfo | None, model: Any) -> str:  # noqa: ANN401
    lines = [path]
    if info is not None:
        need = "required" if info.is_required() else f"default {_default(info)}"
        lines += ["", f"  {info.description}", f"  {_words(info.annotation)}, {need}"]
    elif model is not None:
        lines += ["", f"  {' '.join((model.__doc__ or '').split())}"]
    if model is not None:
        lines += ["", "FIELDS"]
        for name, field in model.model_fields.items():
            mark = "*" if field.is_required() else " "
            lines.append(f"  {mark} {field.alias or name:<24} {field.description}")
        lines += ["", "  * required"]
    return "\n".join(lines)


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    if hasattr(value, "model_dump"):
        return "as its fields say"
    return "none" if value in (None, [], {}) else str(value)


def _words(annotation: Any) -> str:  # noqa: ANN401
    text = str(annotation)
    if "Quantity" in text:
        return "quantity"
    if text.startswith("list"):
        return "list"
    if "Literal" in text:
        arguments = [str(item) for item in getattr(annotation, "__args__", ()) if item is not type(None)]
        return "one of " + ", ".join(arguments)
    names = {"str": "text", "int": "whole number", "bool": "true or false"}
    return names.get(getattr(annotation, "__name__", ""), "object" if inner_model(annotation) else "text")
