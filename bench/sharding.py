"""What several runners, several pools and API priority and fairness bring, by simulation, from one machine's figures.

Measured on one machine (bench/results/apply.json): how much CPU the client and the API server with etcd spend on one
object, and what it takes of etcd. Simulated: every runner is one core that evaluates the departments of its shard and
has up to 48 requests in flight; every pool is an API server on some cores of its own that it shares out among the
requests it admitted; beside them people of departments ask a few things. Departments are spread evenly over the pools.

Usage: `python bench/sharding.py [--save]`; the same figures give the same table, the chance in it is seeded.
"""

import argparse
import json
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commonpool.cli.output import table

if TYPE_CHECKING:
    import simpy

FOLDER = Path(__file__).resolve().parent / "results"
IN_FLIGHT = 48  # of one runner
SLICE = 0.0005  # seconds of CPU after which the next request of those admitted has its turn
PEOPLE = 20  # requests a second of a department's people
SECONDS = 20.0
WARM = 2.0
ETCD_LIMIT = 8.0  # GiB, what etcd's documentation suggests at most
SIZES = (5_000, 20_000, 50_000)


@dataclass(frozen=True)
class Costs:
    """Of one object: seconds of CPU of the client and of the server, bytes in etcd; objects of a department."""

    client: float
    server: float
    stored: float
    objects: float

    @classmethod
    def measured(cls) -> "Costs":
        """From the largest first apply of ours that was measured."""
        rows = json.loads((FOLDER / "apply.json").read_text())["rows"]
        row = max(
            (one for one in rows if (one["way"], one["act"]) == ("commonpool up", "first")),
            key=lambda one: one["objects"],
        )
        count = row["objects"]
        return cls(
            row["client_cpu"] / count,
            row["server_cpu"] / count,
            row["stored"] * 2**20 / count,
            count / row["departments"],
        )


@dataclass(frozen=True)
class Shape:
    """How much of everything there is; `seats` of the runners' priority level on each pool, None: they share all with the people."""

    runners: int
    pools: int
    cores: int
    seats: int | None


@dataclass(frozen=True)
class Outcome:
    """Objects a second of all pools together, and what people waited for an answer, milliseconds."""

    rate: float
    median: float
    slowest: float


class ApiServer:
    """Cores shared out in slices among the requests that hold a seat."""

    def __init__(self, world: "simpy.Environment", shape: Shape) -> None:
        import simpy

        self.world = world
        self.cores = simpy.Resource(world, shape.cores)
        everything = 400  # max-mutating-requests-inflight of our pools
        self.runners = simpy.Resource(world, shape.seats or everything)
        self.people = simpy.Resource(world, everything - shape.seats) if shape.seats else self.runners

    def serve(self, seats: "simpy.Resource", work: float) -> Iterator[Any]:
        """One request: a seat, then slices of CPU until its work is done."""
        with seats.request() as seat:
            yield seat
            while work > 0:
                with self.cores.request() as core:
                    yield core
                    yield self.world.timeout(min(SLICE, work))
                work -= SLICE


def simulate(costs: Costs, shape: Shape, seed: int = 1) -> Outcome:
    """One shape for SECONDS after it has settled."""
    import simpy

    world, chance = simpy.Environment(), random.Random(seed)
    servers = [ApiServer(world, shape) for _ in range(shape.pools)]
    done: list[float] = []
    waited: list[float] = []

    def request(server: ApiServer, flight: "simpy.Resource", ticket: Any) -> Iterator[Any]:
        yield from server.serve(server.runners, chance.expovariate(1 / costs.server))
        flight.release(ticket)
        done.append(world.now)

    def runner(server: ApiServer) -> Iterator[Any]:
        flight = simpy.Resource(world, IN_FLIGHT)
        while True:
            yield world.timeout(chance.expovariate(1 / costs.client))
            ticket = flight.request()
            yield ticket
            world.process(request(server, flight, ticket))

    def question(server: ApiServer) -> Iterator[Any]:
        began = world.now
        yield from server.serve(server.people, chance.expovariate(1 / costs.server))
        if began > WARM:
            waited.append(world.now - began)

    def people(server: ApiServer) -> Iterator[Any]:
        while True:
            yield world.timeout(chance.expovariate(PEOPLE))
            world.process(question(server))

    for number in range(shape.runners):
        world.process(runner(servers[number % shape.pools]))
    for server in servers:
        world.process(people(server))
    world.run(until=WARM + SECONDS)
    shares = statistics.quantiles(waited, n=100)
    return Outcome(sum(moment > WARM for moment in done) / SECONDS, 1000 * shares[49], 1000 * shares[98])


SHAPES = (
    Shape(1, 1, 2, None), Shape(1, 1, 4, None), Shape(2, 1, 4, None), Shape(4, 1, 4, None), Shape(4, 1, 4, 8),
    Shape(4, 1, 16, 32), Shape(8, 1, 16, None), Shape(8, 1, 16, 32), Shape(8, 2, 16, 32), Shape(16, 4, 16, 32),
)  # fmt: skip


def lines(costs: Costs, found: list[tuple[Shape, Outcome]]) -> Iterator[list[str]]:
    """The table's rows."""
    for shape, outcome in found:
        minutes = [f"{size * costs.objects / outcome.rate / 60:.1f}" for size in SIZES]
        level = f"{shape.seats} seats" if shape.seats else "shared"
        yield [str(shape.runners), str(shape.pools), str(shape.cores), level, f"{outcome.rate:,.0f}/s", *minutes,
               f"{outcome.median:.0f} ms", f"{outcome.slowest:.0f} ms"]  # fmt: skip


HEADINGS = ["runners", "pools", "cores each", "runners' level", "objects", *(f"{size:,} dep., min" for size in SIZES),
            "people P50", "people P99"]  # fmt: skip


def space(costs: Costs) -> Iterator[list[str]]:
    """How full one pool is, by departments."""
    for size in (1_000, *SIZES):
        stored = size * costs.objects * costs.stored / 2**30
        yield [f"{size:,}", f"{size * costs.objects:,.0f}", f"{stored:.2f} GiB", f"{100 * stored / ETCD_LIMIT:.0f} %"]


SPACE = ["departments", "objects", "etcd", f"of its {ETCD_LIMIT:.0f} GiB"]


def main() -> None:
    """Simulate, print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--save", action="store_true", help="keep the figures for bench/README.md")
    chosen = arguments.parse_args()
    costs = Costs.measured()
    found = [(shape, simulate(costs, shape)) for shape in SHAPES]
    sys.stdout.write(table(HEADINGS, list(lines(costs, found)), left=0) + "\n\n")
    sys.stdout.write(table(SPACE, list(space(costs)), left=0) + "\n")
    if chosen.save:
        kept = [asdict(shape) | asdict(outcome) for shape, outcome in found]
        (FOLDER / "sharding.json").write_text(json.dumps({"costs": asdict(costs), "shapes": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
