"""Build what the tests run, once, before the first of them: their time limits are for tests. `make test` calls it."""

import signal
import sys

from commonpool.cli.output import Output
from commonpool.embedded import binaries
from commonpool.embedded.hosts import why_not
from commonpool.embedded.node_archive import node_archive


def main() -> None:
    """Nothing is done where all of it stands."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a build that is ended leaves nothing behind
    output = Output()
    with output.working("building what the tests run"):
        with binaries.fetching([binaries.ENVOY_GATEWAY], output.build):
            binaries.built(binaries.KUBERNETES, output.build)
        binaries.built(binaries.ENVOY_GATEWAY, output.build)
        binaries.envoy(output.build)
        if why_not() is None:
            node_archive(output.build)


if __name__ == "__main__":
    main()
