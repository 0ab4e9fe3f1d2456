"""How much of anything we are willing to hold: checked before memory is asked for."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Upper bounds on what one analysis may read and decode."""

    instance_bytes: int = 512 * MIB
    """Encoded size of one instance."""

    header_bytes: int = 4 * MIB
    """Everything before the pixel data of one instance; more is an attack or a mistake."""

    header_reads: int = 120_000
    """Read calls while parsing a header, two or three for each element, nested ones included."""

    decoded_instance_bytes: int = 512 * MIB
    """Rows x Columns x Samples x ceil(Bits / 8) x Frames of one instance, as declared."""

    decoded_series_bytes: int = 4096 * MIB
    """The same, summed over a series."""

    instances: int = 4000
    """Instances of one series."""

    frames: int = 20_000
    """Frames of one instance."""

    threads: int = 0
    """Slices decoded and inferred at the same time; 0 means one for each core."""
