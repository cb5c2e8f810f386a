"""Large believable estates: a province of any number of departments, the same bytes for the same seed.

Every county of an invented province has the offices that counties have, in Chinese and in Latin script; most ask for one
small namespace, some for two or three, a few for a lot. The server rooms are as large as what is promised needs.
Usage: `python bench/province.py FOLDER [DEPARTMENTS] [--seed N]`.
"""

import argparse
import random
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]

from commonpool.model.organisation_code import check_character  # noqa: E402

FIRST = {"清": "qing", "安": "an", "临": "lin", "永": "yong", "长": "chang", "东": "dong", "南": "nan", "西": "xi",
         "北": "bei", "新": "xin", "石": "shi", "金": "jin", "白": "bai", "云": "yun", "龙": "long", "平": "ping",
         "嘉": "jia", "德": "de", "丰": "feng", "和": "he"}  # fmt: skip
SECOND = {"河": "he", "山": "shan", "江": "jiang", "溪": "xi", "州": "zhou", "阳": "yang", "宁": "ning", "湖": "hu",
          "林": "lin", "泉": "quan", "城": "cheng", "口": "kou", "岭": "ling", "原": "yuan", "海": "hai"}  # fmt: skip
OFFICES = {
    "水利局": ("water", "monitoring-and-warning", "2130306"),
    "民政局": ("civil-affairs", "enforcement-and-service", "2080208"),
    "财政局": ("finance", "finance", "2010601"),
    "卫生健康局": ("health", "emergency-response", "2100101"),
    "交通运输局": ("transport", "monitoring-and-warning", "2140101"),
    "市场监督管理局": ("market-supervision", "enforcement-and-service", "2013801"),
    "生态环境局": ("ecology", "monitoring-and-warning", "2110101"),
    "应急管理局": ("emergency", "emergency-response", "2240101"),
    "政府办公室": ("general-office", "internal-administration", "2010301"),
    "人力资源和社会保障局": ("personnel", "internal-administration", "2080101"),
    "发展研究中心": ("policy-research", "policy-and-decision", "2010302"),
    "数据局": ("open-data", "open-government", "2010303"),
    "教育局": ("education", "enforcement-and-service", "2050101"),
    "自然资源局": ("land", "enforcement-and-service", "2200101"),
    "农业农村局": ("agriculture", "policy-and-decision", "2130101"),
    "住房和城乡建设局": ("housing", "enforcement-and-service", "2120101"),
    "司法局": ("justice", "enforcement-and-service", "2040601"),
    "统计局": ("statistics", "policy-and-decision", "2010501"),
}
# What one namespace asks for: flavor, cores, GiB, and how many in a hundred are like that.
SHAPES = (("legacy", 2, 6, 30), ("legacy", 4, 12, 20), ("standard", 2, 8, 20), ("standard", 6, 20, 15),
          ("performance", 8, 48, 10), ("performance", 16, 96, 4), ("secure", 8, 64, 1))  # fmt: skip
NUMBER_OF_NAMESPACES = ((1, 70), (2, 22), (3, 8))
MACHINES = {
    "legacy": (8, 32, 2012),
    "standard": (16, 64, 2015),
    "performance": (32, 256, 2019),
    "secure": (64, 512, 2023),
}
ROOMS = {"legacy": "river-street", "standard": "hill-annex", "performance": "new-campus", "secure": "new-campus"}
NAMES = ("main", "portal", "test")


@dataclass
class Asked:
    """What all departments together were given so far, by flavor."""

    cpu: Counter[str]
    memory: Counter[str]


def write(root: Path, departments: int, *, seed: int = 1) -> Path:
    """Write an estate of at most 5,400 departments, its inventories inside. Returns its folder."""
    chance = random.Random(seed)
    places = list(product(FIRST.items(), SECOND.items(), OFFICES.items()))
    if departments > len(places):
        raise ValueError(f"the province has {len(places)} offices at most")
    asked = Asked(Counter(), Counter())
    (root / "departments").mkdir(parents=True, exist_ok=True)
    for number, place in enumerate(chance.sample(places, departments)):
        manifest = department(number, place, chance, asked)
        _dump(root / "departments" / f"{manifest['metadata']['name']}.yaml", manifest)
    _rooms(root, asked)
    return root


def department(number: int, place: Any, chance: random.Random, asked: Asked) -> dict[str, Any]:
    """One manifest."""
    (first, latin_first), (second, latin_second), (office, (latin, business_class, item)) = place
    name, title = f"{latin_first}{latin_second}-{latin}", f"{first}{second}县{office}"
    base = f"11330000MC{number:07d}"
    desk = f"{latin_first}{latin_second}.example"
    roles = [{"role": "Information office", "email": f"{latin}@{desk}"} for _ in range(3)]
    count = _one_of(NUMBER_OF_NAMESPACES, chance)
    return {
        "apiVersion": "commonpool.dev/v1",
        "kind": "Department",
        "metadata": {"name": name, "labels": {"county": f"{latin_first}{latin_second}"}},
        "spec": {
            "displayName": title,
            "organisation": {"code": base + check_character(base), "name": title, "level": "city"},
            "contacts": {
                "owner": roles[0],
                "deputy": roles[1],
                "duty": {"role": "Duty desk", "phone": f"+86 555 {number:04d} 110"},
                "dataSteward": roles[2],
            },
            "groups": {"admin": [f"{name}-admins"], "developer": [f"{name}-developers"], "viewer": [f"{name}-viewers"]},
            "filing": {"number": f"江政数备〔2026〕{number:05d}号", "budgetItem": item},
            "term": {"start": "2026-01-01", "review": "2027-06-30", "end": "2028-12-31"},
            "namespaces": [_namespace(NAMES[index], business_class, chance, asked) for index in range(count)],
        },
    }


def _namespace(name: str, business_class: str, chance: random.Random, asked: Asked) -> dict[str, Any]:
    flavor, cpu, memory = _one_of([((flavor, cpu, memory), weight) for flavor, cpu, memory, weight in SHAPES], chance)
    asked.cpu[flavor] += cpu
    asked.memory[flavor] += memory
    wanted = {"flavor": flavor, "guaranteed": {"cpu": str(cpu), "memory": f"{memory}Gi"}}
    if chance.random() < 0.5:
        wanted["burst"] = {"cpu": str(cpu), "memory": f"{memory // 2}Gi"}
    return {
        "name": name,
        "environment": "test" if name == "test" else "production",
        "businessClass": business_class,
        "protectionLevel": 2 if flavor == "legacy" else chance.choice((2, 2, 3)),
        "resources": [wanted],
    }


def _one_of(weighted: Any, chance: random.Random) -> Any:
    return chance.choices([value for value, _ in weighted], [weight for _, weight in weighted])[0]


def _rooms(root: Path, asked: Asked) -> None:
    """The pool of the sample with as many machines as are needed, a tenth to spare."""
    groups: dict[str, dict[str, Any]] = {room: {} for room in ROOMS.values()}
    for flavor, (cpu, memory, year) in MACHINES.items():
        over_commit = 1.0 if flavor == "secure" else 1.5
        need = max(asked.cpu[flavor] / (cpu - 0.5) / over_commit, asked.memory[flavor] / (memory - 1.5))
        groups[ROOMS[flavor]][f"generation_{year}"] = {
            "vars": {
                "commonpool_generation": str(year),
                "commonpool_year": year,
                "commonpool_flavor": flavor,
                "commonpool_cpu": str(cpu),
                "commonpool_memory": f"{memory}Gi",
                "commonpool_disk": "400Gi",
            },
            "hosts": {f"{flavor}-[0001:{int(need * 1.1) + 2:04d}]": None},
        }
    for room, children in groups.items():
        _dump(root / "inventories" / room / "hosts.yml", {"all": {"children": children}})
    pool = yaml.safe_load((ROOT / "examples" / "estate" / "pool.yaml").read_text(encoding="utf-8"))
    compute = pool["spec"]["compute"]
    compute["sites"] = [site for site in compute["sites"] if site["name"] in groups]
    compute["flavors"] = [flavor for flavor in compute["flavors"] if flavor["name"] in MACHINES]
    for site in compute["sites"]:
        site["inventory"] = f"inventories/{site['name']}/hosts.yml"
    pool["spec"]["storage"]["volumes"] = []
    pool["spec"]["network"]["proxy"]["domains"] = []
    _dump(root / "pool.yaml", pool)


def _dump(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.dump(values, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("departments", nargs="?", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    write(chosen.folder, chosen.departments, seed=chosen.seed)
    sys.stdout.write(f"{chosen.folder}: {chosen.departments} departments\n")
