"""One governed Kubernetes pool out of scattered server rooms, declared in files."""

__version__ = "0.1.0"
