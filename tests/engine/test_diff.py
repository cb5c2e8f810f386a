"""The field diff: what a person reads in a preview."""

from typing import Any

import pytest
from commonpool.engine.diff import field_changes, immutable_refusal, immutable_words
from commonpool.engine.error import Refused
from commonpool.engine.event import FieldChange
from commonpool.engine.mask import MASK


def pod_template(*containers: dict[str, Any]) -> dict[str, Any]:
    """A Deployment with these containers."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": list(containers)}}},
    }


def config_map(data: dict[str, str], **metadata: Any) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **metadata}, "data": data}


def secret(**fields: Any) -> dict[str, Any]:
    """A Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, **fields}


def test_equal_objects_have_no_changes() -> None:
    """Nothing differs, nothing is said."""
    assert field_changes(config_map({"a": "1"}), config_map({"a": "1"})) == ()


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ({"a": "1"}, {"a": "2"}, FieldChange("data.a", "~", "1", "2")),
        ({"a": "1"}, {"a": "1", "b": "2"}, FieldChange("data.b", "+", None, "2")),
        ({"a": "1", "b": "2"}, {"a": "1"}, FieldChange("data.b", "-", "2", None)),
        ({"a.txt": "1"}, {"a.txt": "2"}, FieldChange('data["a.txt"]', "~", "1", "2")),
    ],
)
def test_a_field_that_differs_is_one_change(old: dict[str, str], new: dict[str, str], change: FieldChange) -> None:
    """Changed, added, taken away, and a key that needs quotes."""
    assert field_changes(config_map(old), config_map(new)) == (change,)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        (["b", "c"], ["a", "b", "c"], [("args[0]", "+", None, "a")]),
        (["a", "b", "c"], ["b", "c"], [("args[0]", "-", "a", None)]),
        (["a", "b", "c"], ["a", "x", "c"], [("args[1]", "~", "b", "x")]),
        (["a", "b"], ["b", "a"], [("args[0]", "+", None, "b"), ("args[1]", "-", "b", None)]),
        (
            ["a", "b", "c"],
            ["x"],
            [("args[0]", "~", "a", "x"), ("args[1]", "-", "b", None), ("args[2]", "-", "c", None)],
        ),
    ],
)
def test_one_name_more_in_a_list_is_one_change(old: list[str], new: list[str], changes: list[Any]) -> None:
    """What stands behind it has only moved."""
    found = field_changes(pod_template({"name": "a", "args": old}), pod_template({"name": "a", "args": new}))
    assert [(one.path.rpartition(".")[2], one.operation, one.old, one.new) for one in found] == changes


def test_one_rule_more_in_front_of_others_is_one_change() -> None:
    rules = [{"name": name, "matches": [{"path": f"/{name}"}]} for name in ("a", "b", "c")]
    added = {"name": "new", "matches": [{"path": "/new"}]}
    changes = field_changes({"spec": {"rules": rules}}, {"spec": {"rules": [rules[0], added, *rules[1:]]}})
    assert [(one.path, one.operation, one.new) for one in changes] == [
        ("spec.rules[1].name", "+", "new"),
        ("spec.rules[1].matches[0].path", "+", "/new"),
    ]
    assert field_changes({"rules": rules}, {"rules": rules[::-1]}), "the order of rules is a difference"


def test_containers_are_matched_by_name_even_when_their_order_changes() -> None:
    """The path names the container, not its position."""
    old = pod_template({"name": "web", "image": "web:1"}, {"name": "log", "image": "log:1"})
    new = pod_template({"name": "log", "image": "log:1"}, {"name": "web", "image": "web:2"})
    (change,) = field_changes(old, new)
    assert change == FieldChange("spec.template.spec.containers[name=web].image", "~", "web:1", "web:2")


def test_a_port_with_its_default_protocol_is_the_same_port() -> None:
    """The server fills in TCP; the declaration did not say it."""
    old = pod_template({"name": "web", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}]})
    new = pod_template({"name": "web", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "www"}]})
    (change,) = field_changes(old, new)
    assert change.path == "spec.template.spec.containers[name=web].ports[containerPort=80].name"


def test_lists_whose_keys_are_not_unique_are_compared_by_position() -> None:
    """Two entries of one name would otherwise hide each other."""
    old = pod_template({"name": "web", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]})
    new = pod_template({"name": "web", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "3"}]})
    (change,) = field_changes(old, new)
    assert change == FieldChange("spec.template.spec.containers[name=web].env[1].value", "~", "2", "3")


def test_what_the_server_and_the_engine_keep_for_themselves_is_left_out() -> None:
    """Versions, status, our own marks."""
    old = config_map({}, resourceVersion="1", uid="a", managedFields=[], labels={"applyset.kubernetes.io/part-of": "x"})
    new = config_map(
        {}, resourceVersion="2", uid="b", annotations={"commonpool.dev/seal": "s", "commonpool.dev/resource": "u"}
    )
    assert field_changes({**old, "status": {"a": 1}}, new) == ()


def test_values_of_a_secret_are_masked_whether_asked_for_or_not() -> None:
    """Only that they changed is told, and under which key."""
    changes = field_changes(secret(data={"password": "b2xk"}), secret(data={"password": "bmV3"}))
    assert changes == (FieldChange("data.password", "~", MASK, MASK),)


def test_the_annotation_that_repeats_a_secret_is_left_out() -> None:
    """kubectl apply writes the whole object into an annotation."""
    old = secret(data={}) | {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "b2xk"}}}
    assert "b2xk" not in repr(field_changes(old, secret(data={})))


def test_a_secret_path_masks_what_lies_below_and_every_element_of_its_list() -> None:
    """The position in the declaration need not be the position in the live object."""
    old = pod_template({"name": "a", "env": [{"name": "K", "value": "old"}]}, {"name": "b", "image": "b:1"})
    new = pod_template({"name": "b", "image": "b:2"}, {"name": "a", "env": [{"name": "K", "value": "new"}]})
    path = ("spec", "template", "spec", "containers", 1, "env", 0, "value")
    changes = field_changes(old, new, secret_paths=[path])
    assert [(change.new, change.path.rpartition(".")[2]) for change in changes] == [("b:2", "image"), (MASK, "value")]


def test_a_secret_path_hides_even_the_keys_below_it() -> None:
    """A mapping that is secret as a whole may have telling keys."""
    changes = field_changes(config_map({"alice": "1"}), config_map({"bob": "1"}), secret_paths=[("data",)])
    assert changes == (FieldChange("data", "~", MASK, MASK),)


def test_a_list_that_is_added_as_a_whole_does_not_carry_a_secret_out() -> None:
    """The secret lies inside the value that the change holds."""
    old, new = pod_template({"name": "a"}), pod_template({"name": "a", "args": ["--token", "geheim"]})
    path = ("spec", "template", "spec", "containers", 0, "args", 1)
    assert "geheim" not in repr(field_changes(old, new, secret_paths=[path]))


def test_secret_without_paths_masks_every_value() -> None:
    """Nobody knows which one it is."""
    (change,) = field_changes(config_map({"a": "1"}), config_map({"a": "2"}), secret=True)
    assert (change.path, change.old, change.new) == ("data.a", MASK, MASK)


def test_ignored_paths_are_left_out() -> None:
    """The declared wish not to hear of a field."""
    old, new = config_map({"a": "1", "b": "1"}), config_map({"a": "2", "b": "2"})
    assert [change.path for change in field_changes(old, new, ignore=[("data", "a")])] == ["data.b"]


def test_a_new_object_lists_its_fields() -> None:
    """Against nothing, everything is added."""
    changes = field_changes(None, config_map({"a": "1"}))
    assert FieldChange("data.a", "+", None, "1") in changes
    assert {change.operation for change in changes} == {"+"}


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (422, 'Deployment.apps "a" is invalid: spec.selector: Invalid value: {}: field is immutable', True),
        (422, "spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden", True),
        (
            422,
            'PriorityClass.scheduling.k8s.io "a" is invalid: value: Forbidden: may not be changed in an update.',
            True,
        ),
        (422, 'ConfigMap "a" is invalid: data: Too long: must have at most 1048576 bytes', False),
        (403, "somebody's policy: this namespace is immutable", False),
    ],
)
def test_only_the_servers_own_refusal_of_a_change_in_place_asks_for_a_replacement(
    status: int, message: str, expected: bool
) -> None:
    """A policy that happens to use the word deletes nothing."""
    assert immutable_refusal(Refused(message, status=status)) is expected


def test_the_reason_of_a_replacement_is_the_field_and_not_what_it_held() -> None:
    template = '{"metadata":{"labels":{"batch.kubernetes.io/controller-uid":"1"}},"spec":{"containers":[{"name":"x"}]}}'
    message = f'Job.batch "a" is invalid: spec.template: Invalid value: {template}: field is immutable'
    assert immutable_words(Refused(message, status=422)).endswith("spec.template: Invalid value: …: field is immutable")


def test_a_secret_annotation_of_a_secret_is_masked_beside_its_data() -> None:
    """What the kind hides and what the program marked secret add up."""
    old = secret(data={"k": "b2xk"}) | {"metadata": {"annotations": {"note": "old"}}}
    new = secret(data={"k": "bmV3"}) | {"metadata": {"annotations": {"note": "new"}}}
    changes = field_changes(old, new, secret_paths=[("metadata", "annotations", "note")])
    assert {change.path: change.new for change in changes} == {"metadata.annotations.note": MASK, "data.k": MASK}
