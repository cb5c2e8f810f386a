"""`pulumi.StackReference`: outputs of another stack, as the pool remembers them."""

from typing import Any

from google.protobuf import struct_pb2  # type: ignore[import-untyped]

from commonpool.engine import state as states
from commonpool.engine.deployment import Deployment
from commonpool.engine.error import Refused
from commonpool.engine.properties import SECRET, SIGNATURE, decode, encode
from commonpool.engine.unknown import UNKNOWN


async def read(run: Deployment, request: Any) -> struct_pb2.Struct:  # noqa: ANN401
    """Answer with `name`, `outputs` and `secretOutputNames`, as Pulumi's engine does.

    A reference is `stack`, `project/stack` or `organization/project/stack`; the organization is not looked at.
    Raises `Refused` when the pool knows no such stack.
    """
    inputs = decode(request.properties)
    if inputs.unknowns:  # in a preview its name may be an output of something new
        return encode(dict.fromkeys(("name", "outputs", "secretOutputNames"), UNKNOWN))
    name = str(inputs.values.get("name") or request.id)
    parts = name.split("/")
    project, stack = (parts[-2] if len(parts) > 1 else run.program.project), parts[-1]
    other = await states.load(run.pool, project, stack)
    if not other.exists:
        raise Refused(
            f"stack reference {name!r}: the pool {run.pool.url} knows no stack {stack!r} of project {project!r}; "
            f"run that stack first",
            status=404,
            reason="NotFound",
        )
    outputs = {
        key: {SIGNATURE: SECRET, "value": value} if key in other.secret_outputs else value
        for key, value in other.outputs.items()
    }
    return encode({"name": name, "outputs": outputs, "secretOutputNames": list(other.secret_outputs)})
