"""What can go wrong with test hosts."""

from commonpool.embedded.error import EmbeddedError


class HostFailed(EmbeddedError):
    """A test host could not be made or does not answer."""

    code = "host_failed"
