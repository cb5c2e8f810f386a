"""Reading etcd as it lies there: what the API server wrote, encrypted or not. For looking, never for writing."""

import base64
import json
import ssl
import urllib.request

from commonpool.embedded import loopback
from commonpool.embedded.configuration import Layout, Ports


def stored(layout: Layout, ports: Ports, key: str) -> bytes:
    """The value of a key by etcd's JSON gateway; empty when there is none. Raises OSError when etcd does not answer."""
    context = ssl.create_default_context(cafile=str(layout.pki / "etcd-ca.crt"))
    context.load_cert_chain(layout.pki / "etcd-client.crt", layout.pki / "etcd-client.key")
    question = json.dumps({"key": base64.b64encode(key.encode()).decode()}).encode()
    request = urllib.request.Request(f"https://127.0.0.1:{ports.etcd}/v3/kv/range", data=question)
    with loopback.ask(request, context, 10) as answer:
        found = json.loads(answer.read()).get("kvs") or [{"value": ""}]
    return base64.b64decode(found[0]["value"])
