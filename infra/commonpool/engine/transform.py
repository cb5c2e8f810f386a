"""Transforms: functions of a program that change a resource's inputs and options before the engine sees them.

The program serves them by Pulumi's public `Callbacks` protocol and names each by address and token. As in Pulumi, a
resource's own come first, then those of its parents from the inside out, then the stack's.
"""

import re
from itertools import chain
from typing import Any

from pulumi.runtime.proto import alias_pb2, callback_pb2, resource_pb2

from commonpool.engine.error import ProgramFailed
from commonpool.engine.registration import make_urn

LARGEST_MESSAGE = 400 << 20  # as the SDK has it
_CHANNEL = [("grpc.max_receive_message_length", LARGEST_MESSAGE), ("grpc.max_send_message_length", LARGEST_MESSAGE)]
_COPIED = {  # the options that a transform may change, by their names in a request
    "version": "version",
    "provider": "provider",
    "plugin_download_url": "pluginDownloadURL",
    "deleted_with": "deletedWith",
    "import": "importId",
}
_COPIED_IF_SET = {"protect": "protect", "retain_on_delete": "retainOnDelete"}  # unset, they come from the parent
_COPIED_LISTS = {
    "ignore_changes": "ignoreChanges",
    "replace_on_changes": "replaceOnChanges",
    "additional_secret_outputs": "additionalSecretOutputs",
    "replace_with": "replace_with",
    "hide_diff": "hideDiffs",
}
_COPIED_MESSAGES = {"custom_timeouts": "customTimeouts", "hooks": "hooks", "replacement_trigger": "replacement_trigger"}


class Transforms:
    """Those of one run, and the connections to the program that serves them."""

    def __init__(self, project: str, stack: str) -> None:
        """`project` and `stack` complete the aliases that a transform adds."""
        self.project, self.stack = project, stack
        self._of_stack: list[Any] = []
        self._of: dict[str, tuple[Any, ...]] = {}  # own and inherited ones by URN, in the order in which they run
        self._channels: dict[str, Any] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._of_stack or self._of)

    def add_to_stack(self, callback: Any) -> None:  # noqa: ANN401
        """One that is for every resource that is registered from now on."""
        self._of_stack.append(callback)

    async def apply(self, urn: str, request: Any) -> Any:  # noqa: ANN401
        """The request as its transforms want it. Raises `ProgramFailed` when one of them fails."""
        callbacks = (*request.transforms, *self._of.get(request.parent, ()))
        if callbacks:
            self._of[urn] = callbacks
        changed = request
        for callback in chain(callbacks, self._of_stack):
            changed = self._merged(changed, await self._invoke(callback, changed))
        return changed

    async def close(self) -> None:
        """Let go of the program."""
        for channel in self._channels.values():
            await channel.close()

    async def _invoke(self, callback: Any, request: Any) -> Any:  # noqa: ANN401
        import grpc  # type: ignore[import-untyped]
        from pulumi.runtime.proto import callback_pb2_grpc

        if callback.target not in self._channels:
            self._channels[callback.target] = grpc.aio.insecure_channel(callback.target, options=_CHANNEL)
        asked = resource_pb2.TransformRequest(
            type=request.type,
            name=request.name,
            custom=request.custom,
            parent=request.parent,
            properties=request.object,
            options=_options(request),
        )
        wanted = callback_pb2.CallbackInvokeRequest(token=callback.token, request=asked.SerializeToString())
        try:
            answer = await callback_pb2_grpc.CallbacksStub(self._channels[callback.target]).Invoke(wanted)
        except grpc.aio.AioRpcError as error:
            words = f"a transform of {request.type} {request.name!r} failed: {_words(error.details() or str(error))}"
            raise ProgramFailed(words) from error
        return resource_pb2.TransformResponse.FromString(answer.response)

    def _merged(self, request: Any, answer: Any) -> Any:  # noqa: ANN401
        changed: Any = resource_pb2.RegisterResourceRequest()
        changed.CopyFrom(request)
        changed.object.CopyFrom(answer.properties)
        if not answer.HasField("options"):
            return changed
        options = answer.options
        for name, field in _COPIED.items():
            setattr(changed, field, getattr(options, name))
        for name, field in _COPIED_IF_SET.items():
            changed.ClearField(field)
            if options.HasField(name):
                setattr(changed, field, getattr(options, name))
        for name, field in _COPIED_LISTS.items():
            _replace(getattr(changed, field), getattr(options, name))
        if options.HasField("delete_before_replace"):
            changed.deleteBeforeReplace, changed.deleteBeforeReplaceDefined = options.delete_before_replace, True
        of_inputs = (urn for urns in changed.propertyDependencies.values() for urn in urns.urns)
        _replace(changed.dependencies, dict.fromkeys([*options.depends_on, *of_inputs]))
        _replace(changed.aliasURNs, [self._alias(changed, alias) for alias in options.aliases])
        for name, field in _COPIED_MESSAGES.items():
            _copy(options, name, changed, field)
        return changed

    def _alias(self, request: Any, alias: Any) -> str:  # noqa: ANN401
        if alias.WhichOneof("alias") == "urn":
            return str(alias.urn)
        former = alias.spec
        parent = "" if former.noParent else former.parentUrn or request.parent
        token, name = former.type or request.type, former.name or request.name
        return make_urn(former.stack or self.stack, former.project or self.project, parent, token, name)


def _words(details: str) -> str:
    """What the program's exception said, and where it was raised: the SDK tells both in one text."""
    said, _, trace = details.partition(":\n  File ")
    place = re.findall(r'(?:^|File )"(.+?)", line (\d+)', trace)[-1:]
    return f"{said.partition(' error: ')[2] or said}{''.join(f' ({file}:{line})' for file, line in place)}"


def _options(request: Any) -> Any:  # noqa: ANN401
    options = resource_pb2.TransformResourceOptions(
        depends_on=request.dependencies,
        aliases=[alias_pb2.Alias(urn=urn) for urn in request.aliasURNs],
        providers=request.providers,
    )
    for name, field in _COPIED_MESSAGES.items():
        _copy(request, field, options, name)
    for name, field in _COPIED.items():
        setattr(options, name, getattr(request, field))
    for name, field in _COPIED_IF_SET.items():
        if request.HasField(field):
            setattr(options, name, getattr(request, field))
    for name, field in _COPIED_LISTS.items():
        _replace(getattr(options, name), getattr(request, field))
    if request.deleteBeforeReplaceDefined:
        options.delete_before_replace = request.deleteBeforeReplace
    return options


def _copy(source: Any, name: str, target: Any, field: str) -> None:  # noqa: ANN401
    target.ClearField(field)
    if source.HasField(name):
        getattr(target, field).CopyFrom(getattr(source, name))


def _replace(field: Any, values: Any) -> None:  # noqa: ANN401
    del field[:]
    field.extend(values)
