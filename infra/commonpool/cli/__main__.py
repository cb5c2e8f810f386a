"""`python -m commonpool.cli`."""

from commonpool.cli import main

main()
