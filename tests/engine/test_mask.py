"""What is taken out of texts that people read."""

import json

from commonpool.engine.mask import MASK, Masks


def test_of_a_kubeconfig_its_credentials_are_hidden_and_not_the_words_that_are_in_every_message() -> None:
    masks = Masks()
    plugin = {"command": "get-token", "args": ["default"], "env": [{"name": "KEY", "value": "canary-41"}]}
    users = [{"name": "default", "user": {"token": "canary-40"}}, {"name": "other", "user": {"exec": plugin}}]
    masks.hide(json.dumps({"kind": "Config", "contexts": [{"name": "default"}], "users": users}))
    assert masks.apply("ConfigMap default/a") == "ConfigMap default/a"
    assert masks.apply("canary-40, canary-41") == f"{MASK}, {MASK}"


def test_of_another_document_every_text_is_hidden() -> None:
    masks = Masks()
    masks.hide(json.dumps({"kind": "Config", "user": "canary-42"}))
    assert masks.apply("canary-42 of a Config") == f"{MASK} of a {MASK}"
