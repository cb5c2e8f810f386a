"""The supervisor's process: `python -m commonpool.embedded FOLDER BINARIES`."""

import sys
from pathlib import Path

from commonpool.embedded.supervisor import Supervisor

Supervisor(Path(sys.argv[1]), Path(sys.argv[2])).run()
