"""`Kind.get(…)`: an object that a program looks at and does not own. As in Pulumi, one that this stack made is let go of by that."""

from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]

from commonpool.engine.cluster import Cluster
from commonpool.engine.deployment import Deployment
from commonpool.engine.error import Refused
from commonpool.engine.event import Change, Operation
from commonpool.engine.plugin import of_type
from commonpool.engine.properties import UNKNOWN_SENTINEL, decode, encode, secret_outputs
from commonpool.engine.record import unmarked


async def read(run: Deployment, request: Any, urn: str) -> struct_pb2.Struct:  # noqa: ANN401
    """Answer with the object as it stands; with its kind alone while its name or its cluster is not known yet.

    Raises `Refused` when there is none.
    """
    inputs = decode(request.properties).values
    api_version, kind = inputs.get("apiVersion"), inputs.get("kind")
    if not api_version or not kind:
        api_version, kind = of_type(request.type)
    if request.id in ("", UNKNOWN_SENTINEL) or not run.clusters.known(request.provider):
        return encode({"apiVersion": api_version, "kind": kind})
    run.clusters.admit(request.provider, f"{request.type} {request.name!r}")
    cluster = await run.clusters.connect(request.provider)
    live = await _find(run, request, cluster, api_version, kind)
    record = run.state.records.get(urn)
    if record is not None and record.uid == live["metadata"]["uid"]:
        from commonpool.engine.sweep import let_go

        run.note(f"{record.identity} is only read from now on: this stack lets go of it")
        run.registered.add(urn)
        if not run.preview:
            await let_go(run, record)
            run.state.drop(urn)
    run.report(_change(urn, request.type, live))
    return encode(unmarked(live), secret_outputs(kind, request.additionalSecretOutputs))


async def _find(
    run: Deployment,
    request: Any,  # noqa: ANN401
    cluster: Cluster,
    api_version: str,
    kind: str,
) -> dict[str, Any]:
    namespace, _, name = request.id.rpartition("/")
    if not namespace and (await cluster.kind(api_version, kind)).namespaced:
        namespace = await run.clusters.namespace(request.provider)
    live = await cluster.read(api_version, kind, namespace, name)
    if live is None:
        raise Refused(f"{kind} {request.id} does not exist in {cluster.url}", status=404, reason="NotFound")
    return live


def _change(urn: str, type_token: str, live: dict[str, Any]) -> Change:
    metadata = live["metadata"]
    return Change(
        Operation.READ,
        urn,
        type_token,
        live["apiVersion"],
        live["kind"],
        metadata.get("namespace", ""),
        metadata["name"],
        "it is only read",
    )
