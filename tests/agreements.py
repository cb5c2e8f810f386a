"""Agreements of test estates, signed by departments with keys of their own."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from commonpool.model.statement import public_text, signed, text_digest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def key(department: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(department.encode()).digest())


def give_keys(root: Path, *departments: str) -> None:
    """Declare each department's public key in its manifest."""
    for name in departments:
        path = root / "departments" / f"{name}.yaml"
        text = path.read_text(encoding="utf-8")
        line = f'  keys: [{{id: office, public: "{public_text(key(name))}", since: "2026-01-01"}}]\n'
        path.write_text(text.replace("  term:", line + "  term:", 1), encoding="utf-8")


def agree(root: Path, name: str, *, provider: str = "d0", consumer: str = "d1", sign: bool = True, **spec: Any) -> Path:
    """Write an agreement and, with `sign`, the signatures of both sides over it."""
    fields: dict[str, Any] = {
        "provider": provider,
        "consumer": consumer,
        "purpose": {"code": "test", "description": "A task"},
        "basis": {"law": "A law", "article": "1"},
        "term": {"start": "2026-01-01", "end": "2099-12-31"},
        "contacts": {"provider": {"role": "Office"}, "consumer": {"role": "Office"}},
        **spec,
    }
    manifest = {"apiVersion": "commonpool.dev/v1", "kind": "Agreement", "metadata": {"name": name}, "spec": fields}
    path = root / "agreements" / f"{name}.yaml"
    (path.parent / "statements").mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    if sign:
        for party in (provider, consumer):
            say(root, name, party, "sign")
    return path


def say(
    root: Path, agreement: str, department: str, act: str, *, at: str = "2026-02-01T00:00:00Z", **fields: Any
) -> Path:
    """Write a department's statement about an agreement as it is."""
    text = yaml.safe_load((root / "agreements" / f"{agreement}.yaml").read_text(encoding="utf-8"))
    content = {
        "apiVersion": "commonpool.dev/v1",
        "kind": "Statement",
        "agreement": agreement,
        "digest": text_digest(text),
        "act": act,
        "department": department,
        "at": at,
        "key": "office",
        **({} if act == "sign" else {"reason": "The test says so"}),
        **fields,
    }
    path = root / "agreements" / "statements" / f"{agreement}.{department}.{act}.yaml"
    statement = signed(content, key(department)).model_dump(by_alias=True, exclude_none=True)
    path.write_text(json.dumps(statement, ensure_ascii=False), encoding="utf-8")
    return path
