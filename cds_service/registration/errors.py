"""What can be wrong with making a registration pack.

::

    RegistrationError
    ├── NoTenant       it is not said, or not known, for which EHR the pack is
    └── PackInTheWay   there is something where the pack shall be
"""

from __future__ import annotations

from cds_service.errors import ServiceError


class RegistrationError(ServiceError):
    """Base class; nothing was written."""

    kind = "registration"


class NoTenant(RegistrationError):
    """A pack is for one EHR: one tenant of the settings."""

    kind = "tenant"


class PackInTheWay(RegistrationError):
    """The folder is there already; it is left as it is."""

    kind = "exists"
