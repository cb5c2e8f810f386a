"""A catalogue of many datasets: how long validation, the first index and a search take, and how large the index is.

    .venv/bin/python bench/catalogue.py [--datasets 100000] [--keep FOLDER]

Titles are made of words that real catalogues use, so that a search finds between one and thousands of them.
"""

import argparse
import itertools
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import estates  # noqa: E402

PLACES = ["省会市", "港口市", "湖滨市", "山阳县", "临江区", "青溪县", "云岭市", "白石镇", "东海县", "西河区"]
THINGS = [
    "企业登记",
    "常住人口",
    "不动产登记",
    "社会保险参保",
    "机动车",
    "水位监测",
    "空气质量",
    "学籍",
    "医疗机构",
    "行政许可",
    "行政处罚",
    "公共信用",
]
KINDS = ["基础信息", "变更记录", "统计月报", "年度汇总", "实时数据", "名录", "明细", "核验结果"]
QUESTIONS = [
    "人口",
    "水位 港口市",
    "行政许可 名录",
    "山阳县 学籍 明细",
    "credit_code",
    "D-000777",
    "不动产登记",
    "企业 统计",
    "镇",
    "空气质量 实时数据 云岭",
]
DATASET = """\
apiVersion: commonpool.dev/v1
kind: Dataset
metadata:
  name: d{number:06d}
spec:
  displayName: {title}
  code: D-{number:06d}
  category: department
  classification: 部门信息资源/{thing}
  provider: d{provider}
  abstract: {title}，按目录编制指南登记
  formats: [json, csv]
  items:
    - {{name: credit_code, title: 统一社会信用代码, type: string}}
    - {{name: name, title: 名称, type: string, origin: collected}}
    - {{name: address.city, title: 所在地, type: string}}
    - {{name: updated, title: 更新时间, type: datetime, origin: derived}}
  sharing: {{class: conditional, conditions: [仅用于法定职责]}}
  modes: [interface, file]
  update: daily
  published: "2026-01-01"
  filing: {{number: 目录〔2026〕{number:06d}号, budgetItem: "2010301"}}
"""


def titles() -> Iterator[tuple[str, str]]:
    """(title, thing), again and again."""
    for place, thing, kind in itertools.cycle(itertools.product(PLACES, THINGS, KINDS)):
        yield f"{place}{thing}{kind}", thing


def write(root: Path, number: int) -> None:
    """An estate of ten departments and that many datasets."""
    estates.write(root, 10)
    folder = root / "datasets"
    folder.mkdir(exist_ok=True)
    for index, (title, thing) in enumerate(itertools.islice(titles(), number)):
        text = DATASET.format(number=index, title=title, thing=thing, provider=index % 10)
        (folder / f"d{index:06d}.yaml").write_text(text, encoding="utf-8")


def milliseconds(values: list[float]) -> str:
    """Median and the slowest."""
    return f"median {statistics.median(values) * 1000:6.1f} ms, slowest {max(values) * 1000:6.1f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=100_000)
    parser.add_argument("--keep", type=Path)
    wanted = parser.parse_args()
    root = wanted.keep or Path(tempfile.mkdtemp(prefix="catalogue-"))
    cache = tempfile.mkdtemp(prefix="catalogue-cache-")
    os.environ["COMMONPOOL_CACHE"] = cache
    try:
        if not (root / "datasets").is_dir():
            write(root, wanted.datasets)
        measure(root, Path(cache))
    finally:
        shutil.rmtree(cache)
        if wanted.keep is None:
            shutil.rmtree(root)


def _spent() -> float:
    """Seconds of CPU, with those of processes that read for this one."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def measure(root: Path, cache: Path) -> None:
    """Validation, cold and warm, the first index, searches with and without a look at the files."""
    from commonpool.catalogue import open_index
    from commonpool.model import load_estate

    for what in ("validation", "again, unchanged"):
        started, busy = time.perf_counter(), _spent()
        number = len(load_estate(root).datasets)
        took, busy = time.perf_counter() - started, _spent() - busy
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{what:<20} {took:6.1f} s  ({busy:.1f} s of CPU, {memory:,.0f} MB)")
    print(f"{number:,} datasets")
    with closing(open_index(root / "datasets")) as index:
        started = time.perf_counter()
        index.refresh()
        took = time.perf_counter() - started
        size = sum(path.stat().st_size for path in (cache / "catalogue").rglob("*") if path.is_file()) / (1 << 20)
        print(f"first index          {took:6.1f} s  ({number / took:,.0f}/s, {size:,.0f} MB)")
        looks, questions = [], []
        for question in random.Random(1).choices(QUESTIONS, k=50):
            started = time.perf_counter()
            index.refresh(thorough=False)
            looks.append(time.perf_counter() - started)
            started = time.perf_counter()
            index.search(question, limit=20)
            questions.append(time.perf_counter() - started)
        print(f"search               {milliseconds(questions)}")
        print(f"with a quick look    {milliseconds([a + b for a, b in zip(looks, questions, strict=True)])}")
        started = time.perf_counter()
        index.refresh()
        print(f"look at every file   {time.perf_counter() - started:6.1f} s")
        for question in QUESTIONS:
            print(f"  {index.search(question)[1]:>7,} for {question}")


if __name__ == "__main__":
    main()
