"""What can go wrong in the engine, one class by meaning; foreign exceptions never cross this layer.

Each leaf has a `code`, the word that JSON output carries, and says the next step where there is one.
"""


class EngineError(Exception):
    """Root of everything the engine raises on purpose."""

    code = "engine_error"
    next_step = ""
    of_one = False  # whether it says something of one object alone, so that what does not depend on it can go on


class Unreachable(EngineError):
    """The API server did not answer. Never taken to mean that something is gone."""

    code = "unreachable"
    next_step = "again when it answers; where another cluster is meant, name its --kubeconfig or --context"


class EvidenceUnavailable(EngineError):
    """A write could not be recorded beforehand, so it was not sent; `next_step` is what mends the journal."""

    code = "evidence_unavailable"

    def __init__(self, message: str, next_step: str = "") -> None:
        """The journal's own words, and its next step."""
        super().__init__(message)
        self.next_step = next_step


class KubeconfigInvalid(EngineError):
    """The kubeconfig cannot be read, or names what it does not hold."""

    code = "kubeconfig_invalid"
    next_step = "name one that can be read with --kubeconfig, and its context with --context"


class CredentialRefused(EngineError):
    """The API server answered 401: the credential is wrong, expired or revoked; it is named in the message."""

    code = "credential_refused"


class Refused(EngineError):
    """The API server said no (4xx other than a conflict); carries its own `Status` message and reason."""

    code = "refused"
    of_one = True

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        """Keep the HTTP status and the `reason` word of the Kubernetes Status beside the message."""
        super().__init__(message)
        self.status = status
        self.reason = reason


class FieldConflict(Refused):
    """Server-side apply met fields that other managers own; `conflicts` holds (manager, field path)."""

    code = "field_conflict"

    def __init__(self, message: str, conflicts: tuple[tuple[str, str], ...]) -> None:
        """Keep who owns which field."""
        super().__init__(message, status=409, reason="Conflict")
        self.conflicts = conflicts


class ForeignObject(EngineError):
    """An object of that name exists and belongs to somebody else; adopting it is an explicit verb."""

    code = "foreign_object"
    of_one = True


class OtherEngine(EngineError):
    """Another engine (the Pulumi CLI) manages this object or stack."""

    code = "other_engine"
    of_one = True


class Unsupported(EngineError):
    """The program asks for something that this engine does not claim to do; named, never silently skipped."""

    code = "unsupported"
    of_one = True


class ConfigRefused(EngineError):
    """Configuration is missing, or is not of the type that the project declares."""

    code = "config_refused"


class ProgramFailed(EngineError):
    """The Pulumi program raised; `file` and `line` are the last frame in the program's own folder."""

    code = "program_failed"

    def __init__(self, message: str, *, file: str = "", line: int = 0) -> None:
        """Keep the place in the person's own file."""
        super().__init__(message)
        self.file = file
        self.line = line


class Protected(EngineError):
    """A resource marked `protect` would be deleted or replaced."""

    code = "protected"
    of_one = True


class LockHeld(EngineError):
    """Another run holds the stack's lease."""

    code = "lock_held"

    def __init__(self, message: str, *, holder: str = "", since: str = "", expires: str = "") -> None:
        """Keep holder, start and expiry (RFC 3339) of the lease."""
        super().__init__(message)
        self.holder = holder
        self.since = since
        self.expires = expires


class LockLost(EngineError):
    """This run's lease was taken over; it stops writing at once."""

    code = "lock_lost"


class Stale(EngineError):
    """A write carried a resourceVersion that is no longer the newest: somebody else wrote in between."""

    code = "stale"
    of_one = True


class Interrupted(EngineError):
    """The run was asked to end; what was applied is recorded."""

    code = "interrupted"


class StateDamaged(EngineError):
    """The recorded state does not match its own digest."""

    code = "state_damaged"


class NotReady(EngineError):
    """An applied object did not become ready in time; it stays applied."""

    code = "not_ready"
    of_one = True


class UnknownKind(Refused):
    """The API server serves no such kind (yet)."""

    code = "unknown_kind"
