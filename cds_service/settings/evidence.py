"""What a tenant's archive and chart are given beside the report; nothing by default."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TenantEvidence(BaseModel):
    """What of a result is kept as DICOM objects, and what goes into the report itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    objects: tuple[Literal["report", "outline", "map", "picture"], ...] = ()
    """What is stored into the archive that the study came from, in series named "AI …": a
    measurement report (SR), the outlines (SEG), the heat-map (Parametric Map), the key image
    (Secondary Capture). Empty stores nothing. Needs the extra ``scanhook[evidence]``."""

    deadline_s: float = Field(default=30, gt=0, le=600)
    """Time for storing one study's objects, repeats included. The result is written before."""

    pdf: bool = False
    """Whether the report has a PDF of one page (``presentedForm``); it names no patient, the chart
    that holds it does. Needs the extra ``scanhook[evidence]``."""

    key_image: bool = False
    """Whether the report holds the key image (``media``)."""

    def __bool__(self) -> bool:
        """Whether anything is wanted."""
        return bool(self.objects) or self.pdf or self.key_image
