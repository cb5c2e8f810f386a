"""The catalogue as DCAT-AP in JSON-LD, for catalogues that know nothing of ours; what DCAT has no word for is in our namespace.

Source: DCAT-AP 3.0 (SEMIC) over W3C DCAT 3; frequencies and access rights are those of the EU's authority tables.
"""

from collections.abc import Mapping
from typing import Any

from commonpool.catalogue.table import manifest
from commonpool.model import Dataset, Estate
from commonpool.model.base import suggestion

OWN = "https://commonpool.dev/ns#"
_EU = "http://publications.europa.eu/resource/authority"
CONTEXT: dict[str, Any] = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "cp": OWN,
}
_FREQUENCY = {
    "realtime": "UPDATE_CONT", "daily": "DAILY", "weekly": "WEEKLY", "monthly": "MONTHLY", "quarterly": "QUARTERLY",
    "yearly": "ANNUAL", "irregular": "IRREG",
}  # fmt: skip
_RIGHTS = {"unconditional": "PUBLIC", "conditional": "RESTRICTED", "not-shared": "NON_PUBLIC"}
# What is carried in our namespace, so that our own export comes back without a loss.
_CARRIED = (
    "category",
    "role",
    "items",
    "sharing",
    "modes",
    "openness",
    "related",
    "filing",
    "service",
    "returnFlow",
    "formats",
)


class CatalogueInvalid(ValueError):
    """The document is no catalogue in JSON-LD that can be read."""


def export(estate: Estate) -> dict[str, Any]:
    """All datasets as one `dcat:Catalog`."""
    organisation = estate.pool.spec.organisation
    return {
        "@context": CONTEXT,
        "@id": f"urn:commonpool:{estate.pool.name}:catalogue",
        "@type": "dcat:Catalog",
        "dct:title": {"@value": estate.pool.spec.display_name, "@language": "zh"},
        "dct:description": {"@value": f"{organisation.name}政务数据目录", "@language": "zh"},
        "dct:publisher": _agent(organisation.code, organisation.name),
        "dcat:dataset": [_dataset(estate, one) for one in estate.datasets],
    }


def _agent(code: str, name: str) -> dict[str, Any]:
    return {
        "@id": f"urn:uscc:{code}",
        "@type": "foaf:Agent",
        "foaf:name": {"@value": name, "@language": "zh"},
        "dct:identifier": code,
    }


def _dataset(estate: Estate, dataset: Dataset) -> dict[str, Any]:
    spec, provider = dataset.spec, estate.department(dataset.spec.provider)
    values = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    found: dict[str, Any] = {
        "@id": f"urn:commonpool:{estate.pool.name}:dataset:{dataset.name}",
        "@type": "dcat:Dataset",
        "dct:identifier": spec.code,
        "dct:title": {"@value": spec.display_name, "@language": "zh"},
        "dct:description": {"@value": spec.abstract, "@language": "zh"},
        "dcat:keyword": [{"@value": word, "@language": "zh"} for word in spec.classification.split("/")],
        "dct:issued": {"@value": spec.published, "@type": "xsd:date"},
        "dct:accrualPeriodicity": {"@id": f"{_EU}/frequency/{_FREQUENCY[spec.update]}"},
        "dct:accessRights": {"@id": f"{_EU}/access-right/{_RIGHTS[spec.sharing.class_]}"},
        "cp:name": dataset.name,
        "cp:provider": spec.provider,
        "cp:details": {"@type": "@json", "@value": {key: values[key] for key in _CARRIED if key in values}},
    }
    if provider is not None:
        found["dct:publisher"] = _agent(provider.spec.organisation.code, provider.spec.organisation.name)
    service = estate.service(spec.service) if spec.service else None
    if service is not None and service.spec.endpoint is not None:
        host = service.host(estate.pool.spec.network.domain)
        scheme = (
            "http" if service.spec.endpoint.protocol in ("HTTP", "GRPC") else service.spec.endpoint.protocol.lower()
        )
        port = f":{service.spec.endpoint.port}" if service.spec.endpoint.port else ""
        found["dcat:distribution"] = {
            "@type": "dcat:Distribution",
            "dcat:accessURL": {"@id": f"{scheme}://{host}{port}"},
            "dct:title": {"@value": service.spec.display_name, "@language": "zh"},
        }
    return found


def manifests(document: Any, *, provider: str, budget_item: str) -> list[dict[str, Any]]:  # noqa: ANN401
    """The datasets of a catalogue as manifests' values, not yet checked.

    `provider` and `budget_item` are for entries of others, who do not say them. Raises `CatalogueInvalid`.
    """
    if not isinstance(document, Mapping):
        raise CatalogueInvalid("the document is no JSON object")
    if "dcat:dataset" in document:
        some = document["dcat:dataset"]
    else:
        some = [one for one in document.get("@graph", []) if isinstance(one, Mapping) and _is_dataset(one)]
    entries = some if isinstance(some, list) else [some]
    if not entries or not all(isinstance(one, Mapping) for one in entries):
        raise CatalogueInvalid(
            "the document holds no dcat:Dataset under dcat:dataset or @graph (prefix dcat:, compacted)"
        )
    return [_manifest(one, index, provider, budget_item) for index, one in enumerate(entries)]


def _is_dataset(one: Mapping[str, Any]) -> bool:
    types = one.get("@type", [])
    return "dcat:Dataset" in (types if isinstance(types, list) else [types])


def _manifest(one: Mapping[str, Any], index: int, provider: str, budget_item: str) -> dict[str, Any]:
    code = _text(one.get("dct:identifier")) or f"imported/{index + 1}"
    title = _text(one.get("dct:title")) or code
    frequency = _last(one.get("dct:accrualPeriodicity"))
    rights = _last(one.get("dct:accessRights"))
    keywords = one.get("dcat:keyword") or []
    words = [_text(word) for word in (keywords if isinstance(keywords, list) else [keywords])]
    details = one.get("cp:details")
    carried = (
        dict(details["@value"]) if isinstance(details, Mapping) and isinstance(details.get("@value"), Mapping) else {}
    )
    spec: dict[str, Any] = {
        "displayName": title,
        "code": code,
        "category": "department",
        "classification": "/".join(filter(None, words)) or "未分类",
        "provider": _text(one.get("cp:provider")) or provider,
        "abstract": _text(one.get("dct:description")) or title,
        "formats": ["json"],
        "items": [{"name": "data", "title": title, "type": "object"}],
        "sharing": {"class": next((word for word, right in _RIGHTS.items() if right == rights), "unconditional")},
        "update": next((word for word, name in _FREQUENCY.items() if name == frequency), "irregular"),
        "published": (_text(one.get("dct:issued")) or "1970-01-01")[:10],
        "filing": {"number": code, "budgetItem": budget_item},
    }
    name = _text(one.get("cp:name")) or suggestion(code.replace("/", "-"), 40) or f"imported-{index + 1}"
    return manifest(name, spec | {key: value for key, value in carried.items() if key in _CARRIED})


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, list):
        value = next(
            (one for one in value if not isinstance(one, Mapping) or one.get("@language") == "zh"),
            value[0] if value else "",
        )
    if isinstance(value, Mapping):
        value = value.get("@value") or value.get("@id") or ""
    return str(value or "")


def _last(value: Any) -> str:  # noqa: ANN401
    return _text(value).rpartition("/")[2]
