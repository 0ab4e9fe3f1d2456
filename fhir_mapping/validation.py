"""Check a resource of our own making against the R4 definitions, once, before it is sent.

fhir.resources calls the 4.0 line "R4B": the resources written here have the same elements in
4.0.1. It is loaded at the first use (0.2 s): the hook never validates, a worker warms up first
(`fhir_mapping.warm`).
It does not know bindings, reference targets and invariants; the tests hold these.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING

from pydantic import ValidationError

from fhir_mapping.errors import InvalidResource

if TYPE_CHECKING:
    from fhir.resources.R4B.bundle import Bundle


@cache
def _bundle_class() -> type[Bundle]:
    module = importlib.import_module("fhir.resources.R4B.bundle")
    bundle: type[Bundle] = module.Bundle
    return bundle


def require_valid(bundle: dict[str, object]) -> None:
    """Raise `InvalidResource` unless `bundle` and all in it parse as R4.

    The dictionary itself is what is sent: dumping the model again would cost twice the check.
    """
    try:
        _bundle_class().model_validate(bundle)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise InvalidResource(f"What was made is not FHIR R4, at {where}.") from None
