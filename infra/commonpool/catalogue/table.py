"""The catalogue as CSV with the official core metadata: one line for each item, as the compilation guide lays it out.

Source: 政务信息资源目录编制指南 (发改高技〔2017〕1272号) for the columns up to 关联资源代码; those after it are ours and may be
missing on the way in. A cell that a spreadsheet would run as a formula gets an apostrophe, which reading takes off.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from commonpool.model import Dataset, Estate

_CLASSES = {"unconditional": "无条件共享", "conditional": "有条件共享", "not-shared": "不予共享"}
_CYCLES = {
    "realtime": "实时", "daily": "每日", "weekly": "每周", "monthly": "每月", "quarterly": "每季度", "yearly": "每年", "irregular": "不定期",
}  # fmt: skip
_CATEGORIES = {"base": "基础", "theme": "主题", "department": "部门"}
_TYPES = {
    "string": "字符型", "integer": "整数型", "decimal": "数值型", "boolean": "布尔型", "date": "日期型", "datetime": "日期时间型",
    "binary": "二进制", "object": "对象", "list": "列表",
}  # fmt: skip
_MODES = {"interface": "接口", "file": "文件", "table": "库表"}
COLUMNS = (
    "信息资源分类", "信息资源名称", "信息资源代码", "信息资源提供方", "信息资源提供方代码", "信息资源摘要", "信息资源格式", "信息项",
    "数据类型", "共享类型", "共享条件", "共享方式", "是否向社会开放", "开放条件", "更新周期", "发布日期", "关联资源代码",
    "目录类别", "资源标识", "提供方标识", "数据角色", "信息项标识", "数据元", "敏感级别", "来源", "不予共享依据", "不予共享条款",
    "豁免截止", "备案号", "预算项目", "服务标识",
)  # fmt: skip
# Wide signs run too, where Chinese is written.
_RUN_BY_SPREADSHEETS = tuple("=+-@\t\r\n＝＋－＠")


class TableInvalid(ValueError):
    """A line of the table cannot be read; `line` counts from 1, the heading."""

    def __init__(self, line: int, message: str) -> None:
        """`message` says what and what would be right."""
        super().__init__(f"line {line}: {message}")
        self.line = line


def export(estate: Estate) -> str:
    """All datasets as CSV text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for dataset in estate.datasets:
        for row in _rows(estate, dataset):
            writer.writerow({key: _safe(value) for key, value in row.items()})
    return text.getvalue()


def _safe(value: str) -> str:
    return f"'{value}" if value.startswith(_RUN_BY_SPREADSHEETS) else value


def _rows(estate: Estate, dataset: Dataset) -> Iterator[dict[str, str]]:
    spec, provider = dataset.spec, estate.department(dataset.spec.provider)
    basis = spec.sharing.basis
    common = {
        "信息资源分类": spec.classification,
        "信息资源名称": spec.display_name,
        "信息资源代码": spec.code,
        "信息资源提供方": provider.spec.display_name if provider else "",
        "信息资源提供方代码": provider.spec.organisation.code if provider else "",
        "信息资源摘要": spec.abstract,
        "信息资源格式": ";".join(spec.formats),
        "共享类型": _CLASSES[spec.sharing.class_],
        "共享条件": ";".join(spec.sharing.conditions),
        "共享方式": ";".join(_MODES[mode] for mode in spec.modes),
        "是否向社会开放": "是" if spec.openness.open else "否",
        "开放条件": spec.openness.conditions or "",
        "更新周期": _CYCLES[spec.update],
        "发布日期": spec.published,
        "关联资源代码": ";".join(spec.related),
        "目录类别": _CATEGORIES[spec.category],
        "资源标识": dataset.name,
        "提供方标识": spec.provider,
        "数据角色": spec.role,
        "不予共享依据": basis.law if basis else "",
        "不予共享条款": basis.article if basis else "",
        "豁免截止": spec.sharing.exemption_ends or "",
        "备案号": spec.filing.number,
        "预算项目": spec.filing.budget_item,
        "服务标识": spec.service or "",
    }
    for item in spec.items:
        yield common | {
            "信息项": item.title,
            "数据类型": _TYPES[item.type],
            "信息项标识": item.name,
            "数据元": item.element or "",
            "敏感级别": item.sensitivity or "",
            "来源": item.origin,
        }


def manifests(text: str) -> list[dict[str, Any]]:
    """The datasets of a table as manifests' values, not yet checked. Raises `TableInvalid`."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    missing = [column for column in COLUMNS[:17] if column not in (reader.fieldnames or ())]
    if missing:
        raise TableInvalid(1, f"the columns {', '.join(missing)} are missing")
    found: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(reader, 2):
        cells = {key: (value or "").removeprefix("'").strip() for key, value in row.items() if key}
        code = cells["信息资源代码"]
        if code not in found:
            found[code] = _manifest(number, cells, len(found))
        found[code]["spec"]["items"].append(_item(number, cells, len(found[code]["spec"]["items"])))
    return list(found.values())


def _item(line: int, cells: Mapping[str, str], index: int) -> dict[str, Any]:
    item = {
        "name": cells.get("信息项标识") or f"item_{index + 1}",
        "title": cells["信息项"],
        "type": _word(line, _TYPES, cells["数据类型"], "数据类型"),
    }
    for key, column in (("element", "数据元"), ("sensitivity", "敏感级别"), ("origin", "来源")):
        if cells.get(column):
            item[key] = cells[column]
    return item


def _manifest(line: int, cells: Mapping[str, str], index: int) -> dict[str, Any]:
    sharing: dict[str, Any] = {"class": _word(line, _CLASSES, cells["共享类型"], "共享类型")}
    if _list(cells["共享条件"]):
        sharing["conditions"] = _list(cells["共享条件"])
    if cells.get("不予共享依据"):
        sharing["basis"] = {"law": cells["不予共享依据"], "article": cells.get("不予共享条款", "")}
    if cells.get("豁免截止"):
        sharing["exemptionEnds"] = cells["豁免截止"]
    openness: dict[str, Any] = {"open": cells["是否向社会开放"] == "是"}
    if cells["开放条件"]:
        openness["conditions"] = cells["开放条件"]
    spec: dict[str, Any] = {
        "displayName": cells["信息资源名称"],
        "code": cells["信息资源代码"],
        "category": _word(line, _CATEGORIES, cells.get("目录类别") or "部门", "目录类别"),
        "classification": cells["信息资源分类"],
        "role": cells.get("数据角色") or "business",
        "provider": cells.get("提供方标识") or cells["信息资源提供方代码"],
        "abstract": cells["信息资源摘要"],
        "formats": _list(cells["信息资源格式"]),
        "items": [],
        "sharing": sharing,
        "modes": [_word(line, _MODES, word, "共享方式") for word in _list(cells["共享方式"])],
        "openness": openness,
        "update": _word(line, _CYCLES, cells["更新周期"], "更新周期"),
        "published": cells["发布日期"],
        "related": _list(cells["关联资源代码"]),
        "filing": {"number": cells.get("备案号") or "", "budgetItem": cells.get("预算项目") or ""},
    }
    if cells.get("服务标识"):
        spec["service"] = cells["服务标识"]
    return manifest(cells.get("资源标识") or f"imported-{index + 1}", spec)


def manifest(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The values of a dataset's manifest."""
    return {"apiVersion": "commonpool.dev/v1", "kind": "Dataset", "metadata": {"name": name}, "spec": spec}


def _list(cell: str) -> list[str]:
    return [part.strip() for part in cell.replace("；", ";").split(";") if part.strip()]


def _word(line: int, words: Mapping[str, str], cell: str, column: str) -> str:
    by_word = {chinese: word for word, chinese in words.items()} | {word: word for word in words}
    if cell not in by_word:
        raise TableInvalid(line, f"{column} {cell[:40]!r} is none of {', '.join(words.values())}")
    return by_word[cell]


def names(values: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of manifests."""
    return [str(one["metadata"]["name"]) for one in values]
