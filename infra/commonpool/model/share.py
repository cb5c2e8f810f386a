"""How what a service's backends bear is divided among its consumers: agreed rates first, equal parts of the rest. Pure."""

from commonpool.model.estate import Estate
from commonpool.model.service import SharedService
from commonpool.model.traffic import Share

WORDS = (("requests_per_second", "requestsPerSecond"), ("concurrent", "concurrent"))


def agreed(estate: Estate, service: SharedService, word: str) -> dict[str, int]:
    """What agreements in force give to single departments; `word` is a field of `Rate`."""
    found = {}
    for name in estate.consumers.get(service.name, {}):
        terms = estate.terms(service.name, name)
        amount = getattr(terms.spec.rate, word) if terms else None
        if amount is not None:
            found[name] = amount
    return found


def each(estate: Estate, service: SharedService, word: str) -> int | None:
    """What every consumer without an agreed rate may use; None for no bound."""
    limits, given = service.spec.limits, agreed(estate, service, word)
    own, total = getattr(limits.per_consumer, word), getattr(limits.total, word)
    if own is not None or total is None:
        return own if own is None else int(own)
    rest = len(estate.consumers.get(service.name, {})) - len(given)
    return int(max(1, (total - sum(given.values())) // max(1, rest)))


def shares(estate: Estate, service: SharedService) -> tuple[Share, dict[str, Share]]:
    """The common share, and those of departments with an agreed rate."""
    common = _share(*(each(estate, service, word) for word, _ in WORDS))
    rates, concurrent = (agreed(estate, service, word) for word, _ in WORDS)
    own = {
        name: _share(rates.get(name, common.requests_per_second), concurrent.get(name, common.concurrent))
        for name in sorted({*rates, *concurrent})
    }
    return common, own


def _share(requests_per_second: int | None, concurrent: int | None) -> Share:
    return Share.model_construct(requests_per_second=requests_per_second, concurrent=concurrent)
