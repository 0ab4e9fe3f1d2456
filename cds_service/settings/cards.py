"""What one EHR's cards show, and which models answer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Indicator = Literal["info", "warning", "critical"]

Thresholds = Mapping[str, Mapping[str, Annotated[float, Field(gt=0, lt=1)]]]
"""Model id -> label key -> calibrated probability."""


class TenantCards(BaseModel):
    """One EHR's own choice of `HookSettings`; what it does not state is as in ``[hook]``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    finding_indicator: Indicator | None = None
    """Indicator of a card that states a finding."""

    show_pending: bool | None = None
    """Whether a queued or running analysis has a card."""

    show_failed: bool | None = None
    """Whether a failed analysis has an information card."""

    show_not_analysed: bool | None = None
    """Whether a study that no model is for has an information card."""

    show_no_finding: bool | None = None
    """Whether "no finding" has an information card; ``false`` is silence for negatives."""

    show_measured: bool | None = None
    """Whether an outline with its size, without any finding, has an information card."""

    def chosen(self) -> dict[str, object]:
        """The fields of `HookSettings` that are stated here, with their values."""
        return self.model_dump(exclude_none=True)
