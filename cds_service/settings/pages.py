"""The settings of the pages that cards lead to."""

from __future__ import annotations

from pydantic import Field

from cds_service.settings.parts import Part


class PagesSettings(Part):
    """What the explanation page keeps and how much the status page may hold."""

    slices_mib: int = Field(default=64, ge=0, le=1024)
    """Room for the slices of one series that a page scrolls through, before compression (about half
    of it goes to the disk). A series that is larger is kept in fewer or smaller pictures, and the
    page says so; 0 keeps the key image alone."""

    status_streams: int = Field(default=2, ge=0, le=32)
    """Status pages that may hold a connection open at the same time, one thread of ``web.threads``
    each; further ones ask every two seconds instead."""

    feedback_per_minute: int = Field(default=10, ge=1, le=600)
    """Answers that one page takes in a minute."""
