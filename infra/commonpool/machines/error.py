"""What can go wrong with machines; each with a word for programs and what a person may do next."""


class MachineError(Exception):
    """Root of what working on machines can raise."""

    def __init__(self, message: str, *, code: str = "machine_failed", next_step: str = "") -> None:
        """`code` is the word in JSON output."""
        super().__init__(message)
        self.code, self.next_step = code, next_step


class RunFailed(MachineError):
    """Ansible itself could not run, which is no machine's fault."""


class HostKeyRefused(MachineError):
    """A host key is unknown, has changed, or belongs to another machine."""
