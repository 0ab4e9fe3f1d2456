"""How old was the patient at the study? From what a DICOM header states, in years."""

from __future__ import annotations

import re
from datetime import date

_STATED = re.compile(r"(\d{3})([DWMY])")
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_OLDEST_YEARS = 120.0  # a birth date beyond is a placeholder, as de-identification leaves it


def age_years(stated: str, born: str, studied: str) -> float | None:
    """Patient's Age (0010,1010; VR AS, "045Y"), else the time from birth to study (VR DA).

    ``None`` when neither is known, or makes sense.
    """
    if match := _STATED.fullmatch(stated.strip().upper()):
        return int(match[1]) * _YEARS[match[2]]
    first, last = _day(born), _day(studied)
    if not first or not last:
        return None
    years = (last - first).days * _YEARS["D"]
    return years if 0 <= years <= _OLDEST_YEARS else None


def _day(text: str) -> date | None:
    match = _DATE.fullmatch(text.strip())
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None
