"""The export is DCAT-AP to those who know nothing of us, and others' catalogues come in."""

import json
from dataclasses import replace
from pathlib import Path

import pyshacl
import pytest
from commonpool.catalogue import dcat, table
from commonpool.model import load_estate
from rdflib import DCAT, DCTERMS, Graph, Literal, URIRef

ROOT = Path(__file__).resolve().parents[2]
ESTATE = load_estate(ROOT / "examples" / "estate")
# What DCAT-AP 3.0 calls mandatory, and the value types of what we use; written from the specification's tables.
SHAPES = """
@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix dcat: <http://www.w3.org/ns/dcat#> . @prefix dct: <http://purl.org/dc/terms/> .
@prefix foaf: <http://xmlns.com/foaf/0.1/> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix : <urn:shapes:> .
:Catalog a sh:NodeShape ; sh:targetClass dcat:Catalog ;
  sh:property [ sh:path dct:title ; sh:minCount 1 ; sh:nodeKind sh:Literal ] ;
  sh:property [ sh:path dct:description ; sh:minCount 1 ; sh:nodeKind sh:Literal ] ;
  sh:property [ sh:path dct:publisher ; sh:minCount 1 ; sh:maxCount 1 ; sh:class foaf:Agent ] ;
  sh:property [ sh:path dcat:dataset ; sh:minCount 1 ; sh:class dcat:Dataset ] .
:Dataset a sh:NodeShape ; sh:targetClass dcat:Dataset ;
  sh:property [ sh:path dct:title ; sh:minCount 1 ; sh:nodeKind sh:Literal ] ;
  sh:property [ sh:path dct:description ; sh:minCount 1 ; sh:nodeKind sh:Literal ] ;
  sh:property [ sh:path dct:publisher ; sh:maxCount 1 ; sh:class foaf:Agent ] ;
  sh:property [ sh:path dct:accrualPeriodicity ; sh:maxCount 1 ; sh:nodeKind sh:IRI ] ;
  sh:property [ sh:path dct:accessRights ; sh:maxCount 1 ; sh:nodeKind sh:IRI ] ;
  sh:property [ sh:path dct:issued ; sh:maxCount 1 ; sh:datatype xsd:date ] ;
  sh:property [ sh:path dcat:keyword ; sh:nodeKind sh:Literal ] ;
  sh:property [ sh:path dcat:distribution ; sh:class dcat:Distribution ] .
:Distribution a sh:NodeShape ; sh:targetClass dcat:Distribution ;
  sh:property [ sh:path dcat:accessURL ; sh:minCount 1 ; sh:nodeKind sh:IRI ] .
:Agent a sh:NodeShape ; sh:targetClass foaf:Agent ; sh:property [ sh:path foaf:name ; sh:minCount 1 ; sh:nodeKind sh:Literal ] .
"""


def graph() -> Graph:
    return Graph().parse(data=json.dumps(dcat.export(ESTATE), ensure_ascii=False), format="json-ld")


@pytest.mark.filterwarnings("ignore")
def test_the_export_is_rdf_that_fits_the_shapes_of_dcat_ap() -> None:
    fits, _, words = pyshacl.validate(graph(), shacl_graph=Graph().parse(data=SHAPES, format="turtle"))
    assert fits, words
    broken = graph()
    broken.remove((None, DCTERMS.description, None))
    assert not pyshacl.validate(broken, shacl_graph=Graph().parse(data=SHAPES, format="turtle"))[0]


@pytest.mark.filterwarnings("ignore")
def test_every_dataset_is_there_with_right_publisher_frequency_and_address() -> None:
    found = graph()
    assert len(set(found.objects(None, DCAT.dataset))) == len(ESTATE.datasets)
    one = URIRef("urn:commonpool:jiangnan:dataset:residents")
    rights = URIRef("http://publications.europa.eu/resource/authority/access-right/RESTRICTED")
    assert (one, DCTERMS.accessRights, rights) in found
    assert (one, DCTERMS.title, Literal("常住人口基础信息", lang="zh")) in found
    (distribution,) = found.objects(one, DCAT.distribution)
    url = URIRef("tcp://residents-register.civil-affairs.pool.jiangnan.example:15432")
    assert (distribution, DCAT.accessURL, url) in found


def test_anothers_catalogue_comes_in_with_what_it_says_and_what_it_does_not_is_asked_for() -> None:
    document = {
        "@graph": [
            {"@type": "dcat:Catalog", "dct:title": "Other"},
            {
                "@type": ["dcat:Dataset"],
                "dct:identifier": "urn:x:Air Quality",
                "dct:title": [{"@value": "Air", "@language": "en"}, {"@value": "空气质量", "@language": "zh"}],
                "dct:accrualPeriodicity": {"@id": "http://publications.europa.eu/resource/authority/frequency/DAILY"},
                "dct:issued": "2025-03-01T00:00:00Z",
            },
        ]
    }
    (found,) = dcat.manifests(document, provider="ecology-department", budget_item="2110301")
    assert found["metadata"]["name"] == "urn-x-air-quality"
    spec = found["spec"]
    assert (spec["displayName"], spec["update"], spec["published"]) == ("空气质量", "daily", "2025-03-01")
    assert (spec["provider"], spec["filing"]["budgetItem"]) == ("ecology-department", "2110301")


@pytest.mark.parametrize("document", [[], {}, {"@graph": []}, {"dcat:dataset": "x"}, {"dcat:dataset": [1]}])
def test_what_is_no_catalogue_is_refused(document: object) -> None:
    with pytest.raises(dcat.CatalogueInvalid):
        dcat.manifests(document, provider="", budget_item="")


@pytest.mark.parametrize("formula", ["=1+1", "+1+1", "-1+1", "@SUM(1)", "＝1+1", "＋1+1", "－1+1", "＠SUM(1)"])
def test_a_cell_that_a_spreadsheet_would_run_is_only_text(formula: str) -> None:
    text = table.export(ESTATE).replace("江河水位实时监测", "'=cmd|' /C calc'!A0")
    (one,) = [found for found in table.manifests(text) if found["metadata"]["name"] == "water-levels"]
    assert one["spec"]["displayName"] == "=cmd|' /C calc'!A0"
    dataset = ESTATE.dataset("water-levels")
    assert dataset is not None
    renamed = dataset.model_copy(update={"spec": dataset.spec.model_copy(update={"display_name": formula})})
    assert f",'{formula}," in table.export(replace(ESTATE, datasets=(renamed,)))
