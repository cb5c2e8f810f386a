"""Renews the certificates that a running pool's proxy serves with: `python -m commonpool.embedded.renewal FOLDER`.

The supervisor starts it now and then. A process of its own, because the client of the API server costs 40 MB that a
supervisor would keep for good.
"""

import sys
from pathlib import Path

from commonpool.embedded.error import EmbeddedError
from commonpool.embedded.pool import EmbeddedPool
from commonpool.engine.error import EngineError


def main(root: Path) -> int:
    """Renew, and say what was; a failure is the next look's to mend."""
    pool = EmbeddedPool(root.name, root.parent.parent)
    try:
        for secret in pool.renew():
            print(f"renewed the certificate in the Secret {secret}", flush=True)
    except (EmbeddedError, EngineError) as error:
        print(f"the proxy's certificates were not renewed: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
