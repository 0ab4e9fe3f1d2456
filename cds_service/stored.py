"""What the store gives back, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cds_service.explanation import ExplanationPage
from cds_service.slices import Piece, SliceIndex
from cds_service.store_files import read_part


@dataclass(frozen=True)
class StoredPage:
    """The page of one explanation as it was kept."""

    explanation_id: str
    study_key: str
    page: ExplanationPage
    digests: tuple[str, ...]
    """Of its pictures: the SHA-256 of each."""

    superseded: bool
    """Whether a newer analysis of the study has taken its place."""

    tenant: str
    """Whose chart it is of; empty where that was not kept."""


@dataclass(frozen=True)
class StoredExplanation(StoredPage):
    """One whole explanation as it was kept; `pictures` are PNG bytes by their digests."""

    pictures: Mapping[str, bytes]


@dataclass(frozen=True)
class StoredSlices:
    """The slices of one explanation: what there is, and each piece when it is asked for."""

    study_key: str
    index: SliceIndex
    _file: Path

    def piece(self, piece: Piece) -> bytes | None:
        """The bytes of one piece; ``None`` if they are not as they were kept."""
        try:
            content = read_part(self._file, piece.at, piece.size)
        except (OSError, ValueError):
            return None
        return content if sha256(content).hexdigest() == piece.sha256 else None
