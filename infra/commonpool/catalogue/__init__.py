"""The catalogue as others want it: searched, as a table, as DCAT-AP. Reads manifests, never a cluster."""

from commonpool.catalogue.index import Entry, Index, open_index

__all__ = ["Entry", "Index", "open_index"]
