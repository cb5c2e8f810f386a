"""The place of a value that exists only after an apply."""


class Unknown:
    """There is one, `UNKNOWN`."""

    def __repr__(self) -> str:
        """As it is shown in a diff."""
        return "[known after apply]"


UNKNOWN = Unknown()


def known_only(value: object) -> object:
    """The same value with texts where something is not known yet, printed alike each time: the protocol has no order."""
    if isinstance(value, dict):
        return {key: known_only(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [known_only(item) for item in value]
    return repr(value) if isinstance(value, Unknown) else value


def holds_unknown(value: object) -> bool:
    """Whether anything in a value is not known yet."""
    if isinstance(value, dict):
        return any(map(holds_unknown, value.values()))
    if isinstance(value, list):
        return any(map(holds_unknown, value))
    return isinstance(value, Unknown)
