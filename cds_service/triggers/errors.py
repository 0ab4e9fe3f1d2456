"""What can go wrong between a hint and an order.

::

    TriggerError
    ├── UnreadableNotice   a notice without a member that we always write
    ├── NotInChart         no chart that we may read has this study (yet)
    ├── NotActive          the FHIR server has not switched our Subscription on (yet)
    └── NoBackend          this tenant's FHIR server may not be read without a user

Each has a `kind` (for records and metrics), `retryable`, and a sentence for a person.
"""

from __future__ import annotations

from cds_service.errors import ServiceError


class TriggerError(ServiceError):
    """Base class."""

    kind = "trigger"


class UnreadableNotice(TriggerError):
    """A notice that another version of scanhook made."""

    kind = "notice"


class NotInChart(TriggerError):
    """The archive has a study that no chart has: the EHR may be behind."""

    kind = "not-in-chart"
    retryable = True


class NoBackend(TriggerError):
    """Without a user nothing can be read, so nothing can be followed up."""

    kind = "no-backend"


class NotActive(TriggerError):
    """The FHIR server took the Subscription and does not use it: it may not reach us."""

    kind = "subscription-not-active"
    retryable = True
