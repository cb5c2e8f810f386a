"""What needs a plugin of the Pulumi CLI, which is not here, and what to do instead. Pure."""

from commonpool.engine.error import Unsupported


def of_type(token: str) -> tuple[str, str]:
    """ApiVersion and kind from `kubernetes:apps/v1:Deployment`; the core group is spelt out there."""
    package, _, rest = token.partition(":")
    api_version, _, kind = rest.rpartition(":")
    if package != "kubernetes" or not api_version or not kind:
        raise needs_plugin(f"reading {token}", token)
    return api_version.removeprefix("core/"), kind.removesuffix("Patch")


def not_done(words: str) -> Unsupported:
    """The refusal of what the embedded engine leaves to the Pulumi CLI."""
    error = Unsupported(words)
    error.next_step = "take that out of the program, or run it with the Pulumi CLI"
    return error


def needs_plugin(what: str, token: str) -> Unsupported:
    """The refusal of something by name; `token` begins with the plugin's name."""
    plugin = token.split(":")[0]
    if plugin == "pulumi-python":
        error = Unsupported(f"{what} is a dynamic resource, and those are made by the Pulumi CLI only")
        error.next_step = "make it outside of the program and give it as configuration (-c, --secret)"
        return error
    error = Unsupported(f"{what} needs the Pulumi plugin {plugin!r}, which is not here")
    if ":helm" in token or ":helm" in what:
        error.next_step = (
            "render the chart (helm template --include-crds … > chart.yaml) and declare it with "
            "kubernetes.yaml.v2.ConfigFile"
        )
    elif ":kustomize" in token or ":kustomize" in what:
        error.next_step = (
            "render it (kubectl kustomize … > rendered.yaml) and declare it with kubernetes.yaml.v2.ConfigFile"
        )
    else:
        error.next_step = "give its result as configuration (-c, --secret), or run this program with the Pulumi CLI"
    return error
