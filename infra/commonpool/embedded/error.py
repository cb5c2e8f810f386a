"""What can go wrong with the embedded pool, by meaning."""


class EmbeddedError(Exception):
    """Root of everything that the embedded pool raises on purpose; `next_step` is what the person may do."""

    code = "embedded_error"
    next_step = ""

    def __init__(self, message: str, next_step: str = "") -> None:
        """The class's own next step holds where none is given."""
        super().__init__(message)
        self.next_step = next_step or self.next_step


class BuildFailed(EmbeddedError):
    """The control plane's binary could not be built."""

    code = "build_failed"


class StartFailed(EmbeddedError):
    """A component did not come up; the message carries the end of its log."""

    code = "start_failed"
    next_step = "mend what it says and start again; `commonpool embedded logs COMPONENT` shows more"


class NotRunning(EmbeddedError):
    """The pool is asked for something that only a running one can do."""

    code = "not_running"


class IdentityRefused(EmbeddedError):
    """A certificate is asked for an identity that Kubernetes keeps for itself."""

    code = "identity_refused"
