"""The keeper's process: `python -m commonpool.embedded.hosts FOLDER POOL ESTATE`."""

import sys
from pathlib import Path

from commonpool.embedded.hosts.keeper import Keeper

sys.exit(Keeper(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])).run())
