"""Who owns which name and which port of the proxy: one service each, also where two spellings would look or match alike."""

from commonpool.model.estate import Estate
from commonpool.model.hostname import LONGEST, covers, inside, readable
from commonpool.model.look_alike import skeleton
from commonpool.model.problem import shown
from commonpool.model.proxy import ClientCertificates, Proxy
from commonpool.model.service import SharedService
from commonpool.model.subject import Found, Subject
from commonpool.model.traffic import WITH_REQUESTS

_OWN_PORTS = range(18_000, 20_000)  # of Envoy Gateway and of Envoy's administration


def check_hostnames(estate: Estate) -> Found:
    """Every problem between names, ports and domains."""
    yield from _domains(estate)
    yield from _names(estate)
    yield from _ports(estate)


def _names(estate: Estate) -> Found:
    domain = estate.pool.spec.network.domain
    taken: dict[str, str] = {service.host(domain): service.name for service in estate.services}
    looks = {skeleton(name): owner for name, owner in taken.items()}
    wild: dict[str, str] = {}
    for service in estate.services:
        subject = Subject(estate, f"service/{service.name}")
        own = service.host(domain)
        if len(own) > LONGEST:
            yield subject.problem(
                ("metadata", "name"), f"{own} is longer than {LONGEST} characters", "hostname-long", "shorten the name"
            )
        for index, name in enumerate(service.spec.endpoint.hostnames if service.spec.endpoint else ()):
            where = ("spec", "endpoint", "hostnames", index)
            words = _foreign(estate, service, name)
            if words:
                yield subject.problem(where, *words)
                continue
            swallowed = next((other for other, owner in taken.items() if covers(name, other)), "")
            swallower = next((other for other in wild if covers(other, name)), "")
            look = skeleton(readable(name))
            other = swallowed or swallower
            if other:
                owner = taken.get(other) or wild[other]
                yield subject.problem(
                    where,
                    f"{name} and {other} of {owner} would take each other's calls",
                    "hostname-taken",
                    "choose a name that no other one covers",
                )
            elif look in looks:
                yield subject.problem(
                    where,
                    f"{name} ({shown(readable(name))}) looks like a name of {looks[look]}",
                    "hostname-confusable",
                    "choose one that cannot be mistaken",
                )
            looks[look] = service.name
            taken[name] = service.name
            if name.startswith("*."):
                wild[name] = service.name


def _foreign(estate: Estate, service: SharedService, name: str) -> tuple[str, str, str] | None:
    """Why a service may not use a name that nobody else has taken."""
    network = estate.pool.spec.network
    own = service.host(network.domain)
    if inside(own, name.removeprefix("*.")) or inside(name, network.domain):
        if name != own and inside(name, own):
            return None
        return (
            f"{name} lies in the pool's own domain {network.domain}",
            "hostname-foreign",
            f"take it out; {own} is its name already, and names below it are free",
        )
    domains = network.proxy.domains if network.proxy else []
    owner = next((one.department for one in domains if inside(name, one.domain)), None)
    if owner == service.spec.offered_by:
        return None
    owned = [one.domain for one in domains if one.department == service.spec.offered_by]
    words = f"belongs to {owner}" if owner else "lies in no domain of the pool's departments"
    return (
        f"{name} {words}",
        "hostname-foreign",
        f"write a name in {', '.join(owned)}" if owned else "ask the pool's operators for spec.network.proxy.domains",
    )


def _domains(estate: Estate) -> Found:
    network = estate.pool.spec.network
    if network.proxy is None:
        return
    subject = Subject(estate, "pool")
    for index, one in enumerate(network.proxy.domains):
        where = ("spec", "network", "proxy", "domains", index)
        others = [(other.domain, other.department) for other in network.proxy.domains[:index]]
        for domain, owner in [*others, (network.domain, "the pool")]:
            if inside(one.domain, domain) or inside(domain, one.domain):
                yield subject.problem(
                    (*where, "domain"), f"{one.domain} and {domain} of {owner} overlap", "domain-overlap", "keep one"
                )


def _ports(estate: Estate) -> Found:
    proxy = estate.pool.spec.network.proxy
    if proxy is None:
        return
    if proxy.http_port == proxy.https_port:
        yield Subject(estate, "pool").problem(
            ("spec", "network", "proxy", "httpsPort"),
            f"port {proxy.https_port} is that of httpPort too",
            "port-taken",
            "choose another port",
        )
    taken = {proxy.http_port: "the proxy (httpPort)", proxy.https_port: "the proxy (httpsPort)"}
    clients = proxy.client_certificates
    if clients:
        yield from _client_port(Subject(estate, "pool"), proxy, clients, taken)
        taken[clients.port] = "the proxy (clientCertificates)"
    for service in estate.services:
        endpoint = service.spec.endpoint
        if endpoint is None or endpoint.port is None or endpoint.protocol in WITH_REQUESTS:
            continue
        owner = taken.get(endpoint.port) or ("the proxy's own workings" if endpoint.port in _OWN_PORTS else "")
        if owner:
            yield Subject(estate, f"service/{service.name}").problem(
                ("spec", "endpoint", "port"),
                f"port {endpoint.port} belongs to {owner} already",
                "port-taken",
                f"write a free one, for instance {_free(set(taken), endpoint.port)}",
            )
        taken[endpoint.port] = f"service {service.name}"


def _client_port(subject: Subject, proxy: Proxy, clients: ClientCertificates, taken: dict[int, str]) -> Found:
    where = ("spec", "network", "proxy", "clientCertificates")
    if proxy.certificate is None:
        yield subject.problem(
            where,
            "whoever shows a certificate wants to see one first, and the proxy has none",
            "certificate-missing",
            "add spec.network.proxy.certificate",
        )
    if clients.port in taken or clients.port in _OWN_PORTS:
        owner = taken.get(clients.port, "the proxy's own workings")
        yield subject.problem(
            (*where, "port"),
            f"port {clients.port} belongs to {owner} already",
            "port-taken",
            f"write a free one, for instance {_free(set(taken), clients.port)}",
        )


def _free(taken: set[int], near: int) -> int:
    """The next port that nobody has."""
    candidates = (port for port in range(near, 65_536) if port not in taken and port not in _OWN_PORTS)
    return next(candidates, near)
