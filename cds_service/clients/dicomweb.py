"""An archive through DICOMweb (PS3.18): what it holds, and whole series or an error."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import quote

from cds_service.clients import dicomjson as dj
from cds_service.clients.credentials import NoCredential
from cds_service.clients.errors import BadAnswer, NotFound, Rejected
from cds_service.clients.facts import (
    SERIES_FIELDS,
    STUDY_FIELDS,
    StudyFacts,
    series_facts,
    study_facts,
)
from cds_service.clients.http import PARTIAL, Answer, Credential, HttpClient, Request
from cds_service.clients.policy import MIB, Breaker, Deadline, HttpPolicy, RetrievalPolicy
from cds_service.clients.quirks import QUIRKS, Quirk
from cds_service.clients.retrieval import Retrieval
from cds_service.security.egress import Allowance
from models.contract import SeriesFacts

_DICOM_JSON = "application/dicom+json"
_PAGE_CAP = 200
_ROUND = 50  # known silent caps: 50, 100, 200, 250, 500, 1000, 5000


class Archive:
    """One DICOMweb archive below one configured base; safe to use from several threads.

    Args:
        allowance: the base, e.g. ``https://pacs.example.org/dicom-web``.
        credential: what the archive asks of us, sent to it alone.
        policy: bounds of queries.
        retrieval: bounds of fetching a series.
        quirk: how this archive differs; what it refuses is learned while asking.
        client: replaces the client that would be built from the arguments above.
    """

    def __init__(
        self,
        allowance: Allowance,
        *,
        credential: Credential | None = None,
        policy: HttpPolicy | None = None,
        retrieval: RetrievalPolicy | None = None,
        quirk: Quirk = QUIRKS["standard"],
        client: HttpClient | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.retrieval = retrieval or RetrievalPolicy()
        self.policy = policy or HttpPolicy(bytes_cap=32 * MIB)
        self._client = client or HttpClient(
            allowance,
            credential=credential or NoCredential(),
            policy=self.policy,
            connections=max(8, self.retrieval.requests_in_flight),
            breaker=breaker,
        )
        self._quirk = quirk
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What people call the archive."""
        return self._client.peer

    @property
    def quirk(self) -> Quirk:
        """How the archive differs, as far as known by now."""
        return self._quirk

    @property
    def client(self) -> HttpClient:
        """The HTTP client below."""
        return self._client

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def ping(self, policy: HttpPolicy | None = None) -> None:
        """Ask for at most one study.

        Raises:
            UpstreamError: the archive does not answer, or not as an archive would.
        """
        deadline = self._client.deadline(policy or self.policy)
        self._page("studies", "limit=1", policy or self.policy, deadline)

    def find_study(
        self, *, accession: str | None = None, study_uid: str | None = None
    ) -> tuple[StudyFacts, ...]:
        """The studies with this accession number or UID; several may share an accession number.

        What matches is checked again here: some archives answer with everything to a key that they
        do not know.

        Raises:
            ValueError: neither is given.
            UpstreamError: see `cds_service.clients.errors`.
        """
        query = []
        if study_uid is not None:
            query.append(f"StudyInstanceUID={_checked(study_uid)}")
        if accession is not None:
            query.append(f"AccessionNumber={_literal(accession)}")
        if not query:
            raise ValueError("A study is found by its accession number or its UID.")
        found = self._query("studies", "&".join(query), STUDY_FIELDS)
        facts = (study_facts(data_set) for data_set in found)
        return tuple(
            fact
            for fact in facts
            if fact is not None
            and study_uid in (None, fact.study_uid)
            and accession in (None, fact.accession_number)
        )

    def studies(self, first: date, last: date, modality: str = "") -> tuple[StudyFacts, ...]:
        """The studies of these days (Study Date), of one modality or of all; each once.

        What matches is checked again here, as far as the archive states it.

        Raises:
            UpstreamError: see `cds_service.clients.errors`.
        """
        start, end = (f"{day:%Y%m%d}" for day in (first, last))
        query = f"StudyDate={start}" if start == end else f"StudyDate={start}-{end}"
        if modality:
            query += f"&ModalitiesInStudy={_literal(modality)}"
        facts = (study_facts(found) for found in self._query("studies", query, STUDY_FIELDS))
        return tuple(
            {
                fact.study_uid: fact
                for fact in facts
                if fact is not None
                and start <= (fact.date or start).replace(".", "") <= end
                and (not modality or modality in (fact.modalities or (modality,)))
            }.values()
        )

    def series(self, study_uid: str) -> tuple[SeriesFacts, ...]:
        """The series of a study; nothing if the archive does not know the study.

        What the archive leaves out of the list is looked up in one instance of the series.

        Raises:
            UpstreamError: see `cds_service.clients.errors`.
        """
        try:
            found = self._query(f"studies/{_checked(study_uid)}/series", "", SERIES_FIELDS)
        except NotFound:
            return ()  # PS3.18 has an empty list for it; some archives say it so
        if any(dj.uid(data_set, "0020000E") is None for data_set in found):
            raise BadAnswer(f"{self.name} lists a series without its UID.")
        facts = (series_facts(data_set, study_uid) for data_set in found)
        unique = {fact.series_uid: fact for fact in facts if fact is not None}
        return tuple(self._completed(study_uid, fact) for fact in unique.values())

    def instances(
        self, study_uid: str, series_uid: str, deadline: Deadline | None = None
    ) -> tuple[str, ...]:
        """The SOP Instance UIDs that the archive lists for a series.

        Raises:
            UpstreamError: see `cds_service.clients.errors`; BadAnswer if an entry has no UID.
        """
        path = f"studies/{_checked(study_uid)}/series/{_checked(series_uid)}/instances"
        listed = []
        for data_set in self._query(path, "", "", deadline):
            found = dj.uid(data_set, "00080018")
            if found is None:
                raise BadAnswer(f"{self.name} lists an instance without its UID.")
            listed.append(found)
        return tuple(dict.fromkeys(listed))

    def metadata(self, study_uid: str, series_uid: str) -> tuple[dj.Element, ...]:
        """The headers of a series in the DICOM JSON model, without bulk data.

        Raises:
            UpstreamError: see `cds_service.clients.errors`.
        """
        path = f"studies/{_checked(study_uid)}/series/{_checked(series_uid)}/metadata"
        policy = replace(self.policy, bytes_cap=8 * self.policy.bytes_cap)
        return self._page(path, "", policy, self._client.deadline(policy))[0]

    def retrieve(self, study_uid: str, series_uid: str) -> Iterator[bytes]:
        """Every instance of a series as a Part 10 file, each when its last byte has arrived.

        The order is that of arrival. What was yielded is whole, is of this series, and comes once;
        when the iterator ends without an error, it was everything that the archive lists.

        Raises:
            UpstreamError: while iterating; what was yielded before must then be thrown away.
        """
        yield from Retrieval(self, _checked(study_uid), _checked(series_uid)).run()

    def retrieve_some(
        self, study_uid: str, series_uid: str, sop_instance_uids: Sequence[str]
    ) -> Iterator[bytes]:
        """These instances of a series, by name, as Part 10 files in the order of their arrival.

        Raises:
            UpstreamError: while iterating; Incomplete if one of them is not there.
        """
        wanted = tuple(dict.fromkeys(_checked(uid) for uid in sop_instance_uids))
        yield from Retrieval(self, _checked(study_uid), _checked(series_uid)).some(wanted)

    def learn_accept(self, accept: str) -> None:
        """From now on ask for instances with `accept` first."""
        with self._lock:
            others = tuple(a for a in self._quirk.accepts if a != accept)
            self._quirk = replace(self._quirk, accepts=(accept, *others))

    def learn_single_instances(self) -> None:
        """From now on ask for instances by name: it does not stream a series."""
        with self._lock:
            self._quirk = replace(self._quirk, streams_series=False)

    def _completed(self, study_uid: str, facts: SeriesFacts) -> SeriesFacts:
        """Fill in what the list left out, if one instance's header says it.

        A missing body part alone is no sign of a short list: many images have none.
        """
        told = facts.body_part or facts.description
        if facts.modality and facts.instances is not None and told:
            return facts
        path = f"studies/{study_uid}/series/{facts.series_uid}/instances"
        try:
            found = self._query(path, "", SERIES_FIELDS)
        except (NotFound, Rejected):
            return facts
        first = series_facts(found[0], study_uid) if found else None
        if found and (first is None or not first.modality) and self._quirk.series_metadata:
            first = self._first_header(path, study_uid, found[0])
        filled = {} if first is None else {k: v for k, v in vars(first).items() if v}
        known = {k: v for k, v in vars(facts).items() if v not in (None, "", ())}
        return SeriesFacts(**{**filled, "instances": len(found), **known})

    def _first_header(self, path: str, study_uid: str, data_set: dj.Element) -> SeriesFacts | None:
        sop = dj.uid(data_set, "00080018")
        path = f"{path}/{sop}/metadata"
        try:
            found = self._page(path, "", self.policy, self._client.deadline())[0] if sop else ()
        except (NotFound, Rejected):
            return None
        return series_facts(found[0], study_uid) if found else None

    def _query(
        self, path: str, query: str, fields: str, deadline: Deadline | None = None
    ) -> tuple[dj.Element, ...]:
        """All pages of a query (PS3.18 8.3.4).

        An archive that caps its answer should say so (Warning 299); some do not, so a page of a
        suspiciously round length is followed by a question for the next one. One that refuses
        ``includefield`` is asked without from then on.
        """
        deadline = deadline or self._client.deadline(self.policy)
        if not (fields and self._quirk.includefields):
            return self._pages(path, query, deadline)
        try:
            wide = "&".join(filter(None, (query, f"includefield={fields}")))
            return self._pages(path, wide, deadline)
        except Rejected:
            found = self._pages(path, query, deadline)
        with self._lock:
            self._quirk = replace(self._quirk, includefields=False)
        return found

    def _pages(self, path: str, query: str, deadline: Deadline) -> tuple[dj.Element, ...]:
        collected: list[dj.Element] = []
        size, more = self._quirk.page_size, False
        for _ in range(_PAGE_CAP):
            paging = f"limit={size}" if size else ""
            if collected:
                paging = "&".join(filter(None, (paging, f"offset={len(collected)}")))
            asked = "&".join(filter(None, (query, paging)))
            said_more = more
            try:
                page, more = self._page(path, asked, self.policy, deadline, read=(PARTIAL,))
            except Rejected:
                if not collected or size or said_more:
                    raise
                return tuple(collected)  # it knows no offset, so it knows no pages
            if collected and page and page[0] == collected[0]:
                if said_more:
                    break
                return tuple(collected)  # it does not look at offset: that was everything
            collected += page
            if not page or not (more or len(page) == size or len(page) % _ROUND == 0):
                return tuple(collected)
        raise BadAnswer(f"The list of {self.name} does not end.")

    def _page(
        self,
        path: str,
        query: str,
        policy: HttpPolicy,
        deadline: Deadline,
        read: tuple[int, ...] = (),
    ) -> tuple[tuple[dj.Element, ...], bool]:
        """One page, and whether the archive says that there is more: Warning 299, formerly 206."""
        request = Request("GET", path, query, {"Accept": _DICOM_JSON}, read=read)
        answer = self._client.send(request, policy, deadline)
        warned = answer.headers.get("warning", "").lstrip().startswith("299")
        return self._data_sets(answer), warned or answer.status == PARTIAL

    def _data_sets(self, answer: Answer) -> tuple[dj.Element, ...]:
        if answer.status == 204 or not answer.body:
            return ()
        found: Any = answer.json(self.name, _DICOM_JSON)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise BadAnswer(f"{self.name} answered with something else than a list.")
        return tuple(found)


def _checked(uid: str) -> str:
    if not dj.is_uid(uid):
        raise Rejected("The identifier of a study or series is not a DICOM UID.")
    return uid


def _literal(value: str) -> str:
    """A query value whose wildcards stay literal for archives that do not decode them."""
    return quote(value, safe="*,/")
