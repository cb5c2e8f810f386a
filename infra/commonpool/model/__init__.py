"""What people declare: the kinds of `commonpool.dev/v1`, read strictly from an estate's files.

Refuses to guess: nothing is converted, nothing is ignored, and every problem of a run is told at once with its place.
"""

from commonpool.model.agreement import Agreement
from commonpool.model.dataset import Dataset
from commonpool.model.department import Department, FlavorResources, NamespaceSpec
from commonpool.model.estate import Estate, show_path
from commonpool.model.inventory import Machine
from commonpool.model.pool import Flavor, Pool
from commonpool.model.problem import EstateRefused, ModelError, Problem, shown
from commonpool.model.quantity import Quantity, QuantityError
from commonpool.model.reading import load_estate
from commonpool.model.schema import KINDS, FieldUnknown, explain_field, field_paths, json_schema
from commonpool.model.service import SharedService
from commonpool.model.threshold import warnings

__all__ = [
    "KINDS",
    "Agreement",
    "Dataset",
    "Department",
    "Estate",
    "EstateRefused",
    "FieldUnknown",
    "Flavor",
    "FlavorResources",
    "Machine",
    "ModelError",
    "NamespaceSpec",
    "Pool",
    "Problem",
    "Quantity",
    "QuantityError",
    "SharedService",
    "explain_field",
    "field_paths",
    "json_schema",
    "load_estate",
    "show_path",
    "shown",
    "warnings",
]
