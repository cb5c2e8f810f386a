"""The catalogue in the API server: departments read it, nobody hides data in it without a law."""

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest
from commonpool.components.catalogue import NAMESPACE
from commonpool.engine import Cluster
from commonpool.engine.error import Refused
from commonpool.model import Estate

Person = Callable[[str], Callable[[Any], Any]]
OnCluster = Callable[[Any], Any]
DATASET = ("commonpool.dev/v1", "Dataset", NAMESPACE)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def hidden(**sharing: Any) -> dict[str, Any]:
    return {
        "apiVersion": "commonpool.dev/v1",
        "kind": "Dataset",
        "metadata": {"name": "hidden", "namespace": NAMESPACE},
        "spec": {
            "displayName": "Hidden",
            "code": "T/1",
            "provider": "water-bureau",
            "items": [{"name": "a", "title": "A", "type": "string"}],
            "sharing": {"class": "not-shared", **sharing},
        },
    }


def test_every_dataset_of_the_estate_stands_in_the_server_word_for_word(sample: Estate, on_cluster: OnCluster) -> None:
    async def work(cluster: Cluster) -> dict[str, Any]:
        items, _ = await cluster.list_objects("commonpool.dev/v1", "Dataset", namespace=NAMESPACE)
        return {one["metadata"]["name"]: one["spec"] for one in items}

    found = on_cluster(work)
    assert found == {
        one.name: one.spec.model_dump(mode="json", by_alias=True, exclude_none=True) for one in sample.datasets
    }
    classes = {spec["sharing"]["class"] for spec in found.values()}
    assert classes == {"unconditional", "conditional", "not-shared"}


def test_people_and_programs_of_a_department_read_all_datasets_and_write_none(sample: Estate, person: Person) -> None:
    async def read(cluster: Cluster) -> int:
        return len((await cluster.list_objects("commonpool.dev/v1", "Dataset", namespace=NAMESPACE))[0])

    async def write(cluster: Cluster) -> None:
        await cluster.apply(hidden(basis={"law": "L", "article": "1"}, exemptionEnds="2027-01-01"), dry_run=True)

    for group in ("water-viewers", "civil-developers", "health-admins"):
        assert person(group)(read) == len(sample.datasets)
        with pytest.raises(Refused, match="cannot patch resource"):
            person(group)(write)
    with pytest.raises(Refused, match="cannot list resource"):
        person("passers-by")(read)


@pytest.mark.parametrize(
    "sharing",
    [{}, {"basis": {"law": "L", "article": "1"}}, {"basis": {"law": "L"}, "exemptionEnds": "2027-01-01"}, {"exemptionEnds": "2027-01-01"}],
)  # fmt: skip
def test_data_that_is_not_shared_without_law_article_and_end_is_refused_by_the_server(
    sample: Estate, on_cluster: OnCluster, sharing: dict[str, Any]
) -> None:
    async def work(cluster: Cluster) -> None:
        await cluster.apply(hidden(**sharing), dry_run=True)

    with pytest.raises(Refused, match=r"cites law and article|spec\.sharing\.basis\.article: Required"):
        on_cluster(work)


def test_the_admission_policy_refuses_it_even_when_the_definition_forgot_its_rule(
    sample: Estate, on_cluster: OnCluster
) -> None:
    async def work(cluster: Cluster) -> None:
        name = "datasets.commonpool.dev"
        before = await cluster.read("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name)
        assert before is not None
        loose = copy.deepcopy({key: before[key] for key in ("apiVersion", "kind", "metadata", "spec")})
        place = loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["sharing"]
        del place["x-kubernetes-validations"]
        await cluster.replace(loose)
        try:
            with pytest.raises(Refused, match=r"commonpool-sharing.*cites law and article"):
                for _ in range(200):  # the definition takes effect a moment later
                    try:
                        await cluster.apply(hidden(), dry_run=True)
                    except Refused as error:
                        if "commonpool-sharing" in str(error):
                            raise
                    await asyncio.sleep(0.05)
        finally:
            now = await cluster.read("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name)
            assert now is not None
            await cluster.replace({**loose, "metadata": now["metadata"], "spec": before["spec"]})

    on_cluster(work)


def test_kubectl_shows_name_provider_class_and_update(sample: Estate, on_cluster: OnCluster) -> None:
    async def work(cluster: Cluster) -> dict[str, Any]:
        path = f"/apis/commonpool.dev/v1/namespaces/{NAMESPACE}/datasets"
        return dict(await cluster.request("GET", path, accept=TABLE))

    found = on_cluster(work)
    assert [column["name"] for column in found["columnDefinitions"]][:5] == [
        "Name",
        "Title",
        "Provider",
        "Sharing",
        "Update",
    ]
    rows = {row["cells"][0]: row["cells"][1:5] for row in found["rows"]}
    assert rows["mental-health-patients"] == ["严重精神障碍患者管理信息", "health-commission", "not-shared", "monthly"]
