"""The settings of what starts an analysis before a hook asks."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from cds_service.settings.parts import Part


class SubscriptionSettings(Part):
    """What one tenant's FHIR server is asked to tell us."""

    tenant: str
    """Name of the tenant; its `backend` must not be ``none``."""

    topic: str = ""
    """Canonical URL of a SubscriptionTopic (R4 Subscriptions backport); empty means a plain R4
    Subscription on `criteria`."""

    criteria: str = "ImagingStudy?status=available"
    """The search that a plain R4 Subscription watches."""

    filters: tuple[str, ...] = ()
    """Filters of a topic, ``ImagingStudy?status=available``."""

    payload: Literal["empty", "id-only", "full-resource"] = "id-only"
    """What a notification carries. Whatever it is, the study is read from the FHIR server before
    anything is done; a plain R4 Subscription has no ``id-only``, it is ``empty`` there."""

    heartbeat_s: int = Field(default=3600, ge=0, le=86_400)
    """How often the server shall say that there was nothing to say (topics only); 0 for never. A
    heartbeat that counts more events than arrived starts a search, and so do two that stay away."""

    days: int = Field(default=30, ge=1, le=366)
    """The Subscription ends after so long unless it is renewed, which happens a third before."""

    @model_validator(mode="after")
    def filters_need_a_topic(self) -> Self:
        """A plain Subscription has its filters in the criteria."""
        if self.filters and not self.topic:
            raise ValueError(f"subscription of {self.tenant}: filters go with a topic")
        return self


class TriggerSettings(Part):
    """What starts an analysis before a hook asks."""

    subscriptions: tuple[SubscriptionSettings, ...] = ()
    """Subscriptions that a worker makes or renews at its start, as ``scanhook subscribe`` does."""

    poll_every_s: int = Field(default=300, ge=10, le=86_400)
    """How often ``scanhook poll`` asks the archives and FHIR servers what is new."""

    look_back_days: int = Field(default=1, ge=0, le=30)
    """How far back the first look goes; older studies are for ``scanhook backfill``."""

    overlap_days: int = Field(default=1, ge=0, le=30)
    """Days of studies that a poll of an archive asks for once more, since a study grows."""
