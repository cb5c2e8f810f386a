"""Estates for tests: the sample's pool with any number of departments, small enough to fit it."""

import json
from pathlib import Path

from commonpool.model.organisation_code import check_character

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "estate"
INVENTORIES = Path(__file__).resolve().parents[1] / "inventories"
DEPARTMENT = """\
apiVersion: commonpool.dev/v1
kind: Department
metadata:
  name: {name}
spec:
  displayName: Department {number}
  organisation: {{code: "{code}", name: Department {number}, level: city}}
  contacts:
    owner: {{role: Office}}
    deputy: {{role: Office}}
    duty: {{role: Duty desk, phone: "+86 555 0100"}}
    dataSteward: {{role: Office}}
  groups: {{admin: [{name}-admins], developer: [{name}-developers], viewer: [{name}-viewers]}}
  filing: {{number: T-{number}, budgetItem: "201"}}
  term: {{start: "2026-01-01", review: "2027-01-01", end: "2028-01-01"}}
  namespaces:
    - name: main
      environment: {environment}
      businessClass: finance
      protectionLevel: 2
      resources: [{{flavor: performance, guaranteed: {{cpu: {cpu}, memory: 64Mi}}}}]
"""

SERVICE = """\
apiVersion: commonpool.dev/v1
kind: SharedService
metadata:
  name: {name}
spec:
  displayName: Service {name}
  description: A service of the tests
  businessClass: finance
  protectionLevel: 2
  offeredBy: {owner}
  owner: {{role: Office}}
  duty: {{role: Duty desk, phone: "+86 555 0100"}}
  consumers: {{everyone: true}}
"""
NAMESPACE = """\
  namespace:
    environment: test
    resources: [{flavor: performance, guaranteed: {cpu: 10m, memory: 16Mi}}]
"""


def code(number: int) -> str:
    """A valid unified social credit code."""
    base = f"11330000MB{number:07d}"
    return base + check_character(base)


def department(name: str, number: int, *, environment: str = "test", cpu: str = "40m") -> str:
    """A manifest."""
    return DEPARTMENT.format(name=name, number=number, code=code(number), environment=environment, cpu=cpu)


def service(name: str, *, owner: str = "d0", **spec: object) -> str:
    """A manifest; `spec` are further fields of its spec, as the file spells them."""
    fields = [f"  {key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in spec.items()]
    if "namespace" not in spec:
        fields.insert(0, NAMESPACE)
    return SERVICE.format(name=name, owner=owner) + "".join(fields)


def add_service(root: Path, name: str, *, owner: str = "d0", **spec: object) -> Path:
    """Write a service's manifest into an estate."""
    path = root / "services" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(service(name, owner=owner, **spec), encoding="utf-8")
    return path


def consume(root: Path, department: str, *services: str) -> None:
    """Let a department of `write` list services under `consumes`."""
    path = root / "departments" / f"{department}.yaml"
    text = path.read_text(encoding="utf-8").split("      consumes:")[0]
    path.write_text(text + (f"      consumes: [{', '.join(services)}]\n" if services else ""), encoding="utf-8")


def write(root: Path, count: int, *, prefix: str = "d", pool: str = "jiangnan") -> Path:
    """An estate of `count` departments called `<prefix><number>`; no shared services."""
    (root / "departments").mkdir(parents=True, exist_ok=True)
    text = (SAMPLE / "pool.yaml").read_text(encoding="utf-8")
    for line in ("      certificate: gateway\n", "      clientCertificates: {port: 8444, authority: clients}\n"):
        text = text.replace(line, "")  # whoever brings one declares it
    text = text.replace("../../inventories", str(INVENTORIES)).replace("name: jiangnan", f"name: {pool}", 1)
    (root / "pool.yaml").write_text(text, encoding="utf-8")
    for number in range(count):
        name = f"{prefix}{number}"
        (root / "departments" / f"{name}.yaml").write_text(department(name, number), encoding="utf-8")
    return root
