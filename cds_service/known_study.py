"""A study as a card sees it: what the EHR announces, what the record keeps, what may be said."""

from __future__ import annotations

import logging
from collections.abc import Set
from dataclasses import dataclass, replace
from functools import cached_property

from pydantic import ValidationError

from cds_service.claims import claim_of
from cds_service.queue.state import State, StudyRecord
from cds_service.recalls import Concerned
from cds_service.summary import ResultSummary, StudySummary, most_probable
from fhir_mapping.study import StudyRef

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownStudy:
    """A study and what is known of its analysis; `ahead` is how many wait before it, if known.

    `served` are the ids of the models in use: a result of another one is not shown while the
    study is analysed again. ``None`` is all. `settled` are the claims (`claims_of`) that somebody
    has answered so that they are not made again.
    """

    ref: StudyRef
    record: StudyRecord
    ahead: int | None = None
    served: Set[str] | None = None
    settled: Set[str] = frozenset()
    tenant: str = ""
    recalled: tuple[ResultSummary, ...] = ()
    """Answers that nothing is said of any more, nor of what rests on them."""

    @cached_property
    def summary(self) -> StudySummary | None:
        """The analysis that the record keeps, of this content or of an earlier one."""
        if not self.record.summary:
            return None
        try:
            found = StudySummary.from_json(self.record.summary)
        except ValidationError:  # written by another version of scanhook
            _log.warning("summary not readable", extra={"study": self.record.id})
            return None
        left = found if self.served is None else found.of_models(self.served)
        left = left.without(self.recalled) if self.recalled else left
        return left if left.results or not found.results else None

    def without_recalled(self, recalled: Concerned) -> KnownStudy:
        """The same without the answers that were recalled (see `recalls`)."""
        found = self.summary
        if found is None:
            return self
        gone = tuple(
            each
            for each in found.results
            if recalled(self.tenant, [(each.model_id, each.model_version)], found.analysed_ms)
        )
        return replace(self, recalled=gone) if gone else self

    @property
    def earlier_finding(self) -> StudySummary | None:
        """A finding of an earlier analysis, while there is no newer one."""
        found = None if self.record.state is State.ABSTAINED else self.summary
        return found if found and self.leading(found) else None

    def leading(self, found: StudySummary) -> ResultSummary | None:
        """The finding that a card of the study begins with: the most probable of the unsettled."""
        return most_probable(r for r in found.results if self.claim(r) not in self.settled)

    def claim(self, result: ResultSummary) -> str:
        """What a model says of exactly these images: a new version or image makes another claim."""
        return claim_of(result.model_id, result.model_version, self.record.instance_digest)
