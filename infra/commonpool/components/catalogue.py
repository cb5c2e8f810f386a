"""The catalogue in the API server: datasets as objects that every department can list and watch, in one namespace. Pure.

The definition says of a dataset what the server's own columns and rules need and no more, since it keeps each schema several
times in memory; the model has checked the rest before. What is not shared without citing a law is refused twice: by the
definition's rule whoever writes it, and by an admission policy that also says who may write here at all.
"""

from commonpool.components import admission
from commonpool.components.rendering import DEPARTMENT, PREFIX, Body, body
from commonpool.components.roles import RBAC, subjects
from commonpool.model import Dataset, Department, Estate, Pool

NAMESPACE = "commonpool-catalogue"
UNIT = "catalogue."  # begins the names of the components that hold a provider's datasets
_READERS = "commonpool-catalogue"
_GROUP = PREFIX
_LAW = "self.class != 'not-shared' || (has(self.basis) && size(self.basis.law) > 0 && size(self.basis.article) > 0 && has(self.exemptionEnds))"
_CONDITION = "self.class != 'conditional' || (has(self.conditions) && size(self.conditions) > 0)"
_LAW_WORDS = "what is not shared cites law and article (basis) and the last day of its exemption (exemptionEnds)"
_TEXT: Body = {"type": "string", "minLength": 1, "maxLength": 500}
_DAY: Body = {"type": "string", "format": "date"}


def definition(pool: Pool) -> list[Body]:
    """The kind, its namespace, who may read it, and who may write what."""
    names = {"plural": "datasets", "singular": "dataset", "kind": "Dataset", "listKind": "DatasetList"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": _spec()}}},
        "additionalPrinterColumns": [
            {"name": name, "type": "string", "jsonPath": f".spec.{path}", **({"priority": 1} if wide else {})}
            for name, path, wide in (
                ("Title", "displayName", False),
                ("Provider", "provider", False),
                ("Sharing", "sharing.class", False),
                ("Update", "update", False),
                ("Code", "code", True),
                ("Category", "category", True),
                ("Service", "service", True),
            )
        ],
    }
    spec = {"group": _GROUP, "names": names, "scope": "Namespaced", "versions": [version]}
    rule = {"apiGroups": [_GROUP], "resources": ["datasets"], "verbs": ["get", "list", "watch"]}
    return [
        body("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"datasets.{_GROUP}", pool, spec=spec),
        body("v1", "Namespace", NAMESPACE, pool),
        body(RBAC, "ClusterRole", _READERS, pool, rules=[rule]),
        *_policy(pool),
    ]


def _spec() -> Body:
    sharing: Body = {
        "type": "object",
        "required": ["class"],
        "properties": {
            "class": {"type": "string", "enum": ["unconditional", "conditional", "not-shared"]},
            "conditions": {"type": "array", "maxItems": 20, "items": _TEXT},
            "basis": {"type": "object", "required": ["law", "article"], "properties": {"law": _TEXT, "article": _TEXT}},
            "exemptionEnds": _DAY,
        },
        "x-kubernetes-validations": [
            {"rule": _LAW, "message": _LAW_WORDS},
            {"rule": _CONDITION, "message": "conditional sharing names its conditions"},
        ],
    }
    item = {"type": "object", "required": ["name", "title", "type"], "x-kubernetes-preserve-unknown-fields": True}
    item["properties"] = {word: _TEXT for word in ("name", "title", "type")}
    return {
        "type": "object",
        "required": ["displayName", "code", "provider", "sharing", "items"],
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            **{word: _TEXT for word in ("displayName", "code", "provider", "update", "category", "service")},
            "items": {"type": "array", "minItems": 1, "maxItems": 500, "items": item},
            "sharing": sharing,
        },
    }


def _policy(pool: Pool) -> list[Body]:
    sharing = "object.spec.sharing"
    cites = (
        f"{sharing}.class != 'not-shared' || (has({sharing}.basis) && {sharing}.basis.law != '' &&"
        f" {sharing}.basis.article != '' && has({sharing}.exemptionEnds))"
    )
    checks = [
        admission.Check(
            admission.by_platform(pool),
            "the catalogue is declared in the estate (datasets/); only the platform writes it here",
        ),
        admission.Check(cites, _LAW_WORDS),
    ]
    rule = admission.requests_for([_GROUP], ["datasets"], ["CREATE", "UPDATE"])
    return admission.validating(pool, "sharing", admission.anywhere(rule), checks)


def readers(pool: Pool, department: Department) -> Body:
    """A department's people and its programs may read the whole catalogue."""
    groups = department.spec.groups
    people = subjects(pool, list(dict.fromkeys([*groups.admin, *groups.developer, *groups.viewer])))
    programs = [
        {"apiGroup": RBAC.split("/")[0], "kind": "Group", "name": f"system:serviceaccounts:{full_name}"}
        for full_name, _ in department.namespaces()
    ]
    role = {"apiGroup": RBAC.split("/")[0], "kind": "ClusterRole", "name": _READERS}
    name = f"readers-{department.name}"
    return body(RBAC, "RoleBinding", name, pool, namespace=NAMESPACE, roleRef=role, subjects=[*people, *programs])


def providers(estate: Estate) -> dict[str, list[Dataset]]:
    """The datasets of each department that provides some, by the name of the component that holds them."""
    found: dict[str, list[Dataset]] = {}
    for dataset in estate.datasets:
        found.setdefault(f"{UNIT}{dataset.spec.provider}", []).append(dataset)
    return found


def objects(pool: Pool, datasets: list[Dataset]) -> list[Body]:
    """The datasets as objects: the manifest's own words."""
    found = []
    for dataset in datasets:
        spec = dataset.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        one = body(f"{_GROUP}/v1", "Dataset", dataset.name, pool, namespace=NAMESPACE, spec=spec)
        one["metadata"]["labels"] |= {DEPARTMENT: dataset.spec.provider}
        found.append(one)
    return found
