"""What our token may do at an EHR, and which features are off because it may do less than asked.

A token endpoint may grant fewer scopes than it was asked for (RFC 6749, 3.3). What still works goes
on; what does not is said by the log, the doctor and ``/readyz``, and is not tried again and again.
Workers hold the tokens and the web does not, so they leave word in ``cds:rights`` in Redis: one
entry for each tenant with the names of the features that are off.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from redis import Redis

from cds_service.features import FEATURES, RESULTS, Feature, May, in_words, lost
from cds_service.queue.connection import text_of
from cds_service.queue.errors import QueueUnavailable, redis_reached

if TYPE_CHECKING:  # the web asks for rights, and runs no models
    from cds_service.tasks import ReportWriter
    from fhir_mapping.evidence_series import EvidenceSeries
    from fhir_mapping.study import StudyRef
    from inference.analysis import Analysis

_log = logging.getLogger(__name__)

RIGHTS = "cds:rights"


class RightsBoard:
    """Where workers say which features are off. Raises QueueUnavailable without Redis."""

    def __init__(self, connection: Redis) -> None:
        self._redis = connection

    def tell(self, tenant: str, off: Iterable[Feature]) -> None:
        """Replace what was said of this tenant."""
        names = [feature.name for feature in off]
        with redis_reached():
            if names:
                self._redis.hset(RIGHTS, tenant, json.dumps(names))
            else:
                self._redis.hdel(RIGHTS, tenant)

    def standing(self) -> dict[str, str]:
        """A sentence for each tenant for which something is off."""
        with redis_reached():
            entries = self._redis.hgetall(RIGHTS)
        said = {text_of(tenant): _sentence(text_of(names)) for tenant, names in entries.items()}
        return {tenant: sentence for tenant, sentence in sorted(said.items()) if sentence}


def _sentence(names: str) -> str:
    """Of an entry; one that another version of scanhook wrote says what of it is understood."""
    try:
        known = json.loads(names)
    except ValueError:
        known = None
    named = known if isinstance(known, list) else []
    return in_words(feature for feature in FEATURES if feature.name in named)


@dataclass(frozen=True)
class Granted:
    """Hears what the token endpoint of one tenant granted (`BackendServices`, `told`)."""

    tenant: str
    asked: tuple[str, ...]
    board: Callable[[], RightsBoard]

    def __call__(self, got: frozenset[str]) -> None:
        """Say it to the log, and to whoever asks Redis."""
        off = lost(self.asked, got)
        for feature in off:
            told = {"tenant": self.tenant, "kind": feature.name}
            _log.warning("too few scopes granted", extra=told)
        try:
            self.board().tell(self.tenant, off)
        except QueueUnavailable:
            _log.warning("rights not told", extra={"tenant": self.tenant})


@dataclass(frozen=True)
class PermittedReports:
    """Writes results where our token may; where it may not, the analysis ends well without."""

    reports: ReportWriter
    tenant: str
    may: May

    def write(
        self,
        analysis: Analysis,
        ref: StudyRef,
        explanation_id: str,
        at: datetime,
        series: Sequence[EvidenceSeries] = (),
    ) -> str:
        """The report's reference, or "" if it may not be written.

        Raises:
            UpstreamError: as the reports do, or no token was given.
        """
        if not RESULTS.may(self.may):
            _log.info("result not written: too few scopes", extra={"tenant": self.tenant})
            return ""
        return self.reports.write(analysis, ref, explanation_id, at, series)
