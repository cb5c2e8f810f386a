"""`python -m commonpool.cli`."""

from commonpool.cli import main

if __name__ == "__main__":  # processes that verify in parallel import this module again
    main()
