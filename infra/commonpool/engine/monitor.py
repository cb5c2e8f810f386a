"""The resource monitor and engine that a Pulumi program speaks to, where the Pulumi CLI would stand.

One class answers both ways a program can run: in this process (the SDK calls the methods from its worker threads) and
in a process of its own over Pulumi's public gRPC protocol. What is not supported fails by name.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, provider_pb2, resource_pb2

from commonpool.engine.deployment import Deployment
from commonpool.engine.error import EngineError
from commonpool.engine.manifest import declared, documents
from commonpool.engine.plugin import needs_plugin, not_done
from commonpool.engine.properties import decode, encode
from commonpool.engine.registrar import Registrar

if TYPE_CHECKING:
    from commonpool.components.resource import Declared

T = TypeVar("T")
_SEVERITIES = {engine_pb2.WARNING: "warning: ", engine_pb2.ERROR: "error: "}
_FEATURES = frozenset(
    {
        "secrets",
        "deletedWith",
        "resourceReferences",
        "transforms",
        # Claimed so that programs get as far as being refused here, by name.
        "invokeTransforms",
        "parameterization",
        "replaceWith",
        "resourceHooks",
        "errorHooks",
        "stateMigrations",
    }
)
_NEWER_FEATURES = {
    "secrets": resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    "deletedWith": resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
    "resourceReferences": resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
    "transforms": resource_pb2.RESOURCE_MONITOR_FEATURE_TRANSFORMS,
    "invokeTransforms": resource_pb2.RESOURCE_MONITOR_FEATURE_INVOKE_TRANSFORMS,
    "resourceHooks": resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_HOOKS,
    "errorHooks": resource_pb2.RESOURCE_MONITOR_FEATURE_ERROR_HOOKS,
    "parameterization": resource_pb2.RESOURCE_MONITOR_FEATURE_PARAMETERIZATION,
    "replaceWith": resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACE_WITH,
    "stateMigrations": resource_pb2.RESOURCE_MONITOR_FEATURE_STATE_MIGRATIONS,
}


class Monitor:
    """Serves one run. Every method takes a request and an optional gRPC context, as generated servicers do."""

    def __init__(self, run: Deployment, loop: asyncio.AbstractEventLoop) -> None:
        """`loop` is where the run's own work is done; callers are on other threads."""
        self.run, self.loop = run, loop
        self.registrar = Registrar(run)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    # -- the resource monitor

    def SupportsFeature(self, request: Any, context: Any = None) -> resource_pb2.SupportsFeatureResponse:  # noqa: ANN401
        """Secrets above all; alias specs are left to the SDK, which then sends alias URNs."""
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in _FEATURES)

    def GetDeploymentInfo(self, request: Any, context: Any = None) -> Any:  # noqa: ANN401
        """What newer SDKs ask instead of `SupportsFeature`."""
        features = [value for name, value in _NEWER_FEATURES.items() if name in _FEATURES]
        program = self.run.program
        return resource_pb2.DeploymentInfo(
            project=program.project, stack=program.stack, dryRun=self.run.preview, supportedFeatures=features
        )

    def RegisterResource(self, request: Any, context: Any = None) -> Any:  # noqa: ANN401
        """Register a component, a provider or a Kubernetes object."""
        return self._wait(self.registrar.register(request))

    def register_together(self, parent: str, children: "Sequence[Declared]") -> None:
        """Register the children of a component as they are, without the SDK's machinery for each; returns when all are.

        Offered to programs in this process alone. It is what their registration one by one comes to.
        """
        self._wait(self.registrar.children(parent, children))

    def RegisterResourceOutputs(self, request: Any, context: Any = None) -> empty_pb2.Empty:  # noqa: ANN401
        """Outputs of components are of no use to anybody but the program; those of the stack are kept."""
        if self.run.unit_of.get(request.urn) is None or request.urn == self.registrar.root:
            try:
                outputs = decode(request.outputs)
            except EngineError as error:
                raise self._refuse(error) from error
            self.run.outputs = outputs.values
            self.run.secret_outputs = tuple(sorted({str(path[0]) for path in outputs.secrets if path}))
        return empty_pb2.Empty()

    def ReadResource(self, request: Any, context: Any = None) -> Any:  # noqa: ANN401
        """`Kind.get(…)` and stack references."""
        return self._wait(self.registrar.read(request))

    def Invoke(self, request: Any, context: Any = None) -> provider_pb2.InvokeResponse:  # noqa: ANN401
        """The two functions that need no plugin: decoding YAML, and looking at a resource of a manifest component."""
        if request.tok == "kubernetes:yaml:decode":
            try:
                found = encode({"result": declared(documents(decode(request.args).values["text"]))})
            except EngineError as error:
                raise self._refuse(error) from error
        elif (
            request.tok == "pulumi:pulumi:getResource" and decode(request.args).values.get("urn") in self.registrar.made
        ):
            urn = decode(request.args).values["urn"]
            identifier, outputs = self.registrar.made[urn]
            found = encode({"urn": urn, "id": identifier})
            found.fields["state"].struct_value.CopyFrom(outputs)
        else:
            raise self._refuse(needs_plugin(f"function {request.tok}", request.tok))
        response = provider_pb2.InvokeResponse()
        response.CopyFrom(provider_pb2.InvokeResponse(**{"return": found}))
        return response

    def Call(self, request: Any, context: Any = None) -> Any:  # noqa: ANN401
        """Methods of remote components."""
        raise self._refuse(not_done(f"method {request.tok} needs a Pulumi plugin, which is not here"))

    def RegisterStackTransform(self, request: Any, context: Any = None) -> empty_pb2.Empty:  # noqa: ANN401
        """`pulumi.runtime.register_resource_transform`: for every resource that comes after it."""
        self.registrar.transforms.add_to_stack(request)
        return empty_pb2.Empty()

    def RegisterResourceHook(self, request: Any, context: Any = None) -> Any:  # noqa: ANN401
        """A program that asks for one is told."""
        words = "hooks, transforms of functions and existence checks run in the Pulumi CLI's engine only"
        raise self._refuse(not_done(words))

    RegisterStackInvokeTransform = RegisterErrorHook = ExistsResource = RegisterResourceHook

    def RegisterPackage(self, request: Any, context: Any = None) -> Any:  # noqa: ANN401
        """Parameterized packages need their plugin."""
        raise self._refuse(not_done(f"package {request.name} needs a Pulumi plugin, which is not here"))

    def SignalAndWaitForShutdown(self, request: Any, context: Any = None) -> empty_pb2.Empty:  # noqa: ANN401
        """Nothing runs in the program after its last resource."""
        return empty_pb2.Empty()

    # -- the engine

    def Log(self, request: Any, context: Any = None) -> empty_pb2.Empty:  # noqa: ANN401
        """A program's own `pulumi.info`, `warn`, `error`."""
        if request.severity != engine_pb2.DEBUG:
            self.run.note(_SEVERITIES.get(request.severity, "") + request.message)
        return empty_pb2.Empty()

    def GetRootResource(self, request: Any, context: Any = None) -> engine_pb2.GetRootResourceResponse:  # noqa: ANN401
        """The URN of the stack resource."""
        return engine_pb2.GetRootResourceResponse(urn=self.registrar.root)

    def SetRootResource(self, request: Any, context: Any = None) -> engine_pb2.SetRootResourceResponse:  # noqa: ANN401
        """The SDK tells which resource is the stack."""
        self.registrar.root = request.urn
        return engine_pb2.SetRootResourceResponse()

    def RequirePulumiVersion(self, request: Any, context: Any = None) -> Any:  # noqa: ANN401
        """A program may ask for a version of the CLI, which this is not; the SDK's own version is pinned."""
        return engine_pb2.RequirePulumiVersionResponse()

    def StartDebugging(self, request: Any, context: Any = None) -> empty_pb2.Empty:  # noqa: ANN401
        """No debugger is attached."""
        return empty_pb2.Empty()

    def _refuse(self, error: EngineError) -> EngineError:
        self.run.fail("", error)
        return error
