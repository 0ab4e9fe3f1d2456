"""Planted names, ids and tokens go the whole way, and are left nowhere that they need not be.

One site, over Orthanc, sekmet and Valkey, sees every kind of end: final, abstained, failed,
refused. Then all that it left behind is searched, in the spellings of `planted`. Two places hold
identifiers because they must: the archive's URLs hold UIDs (PS3.18 10), and the EHR's hold the ids
of its own resources (FHIR R4 3.1.0); so do the resources that are written into the EHR.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import jwt
import numpy as np
import pytest
import requests
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless
from redis import Redis

from fhir_mapping.study import PatientRef, StudyRef, content_keys
from tests.doubles.faulty_http import Reply, Seen, answer
from tests.doubles.planted import Planted, files_below
from tests.doubles.relay import Relay
from tests.doubles.toy_site import (
    FINDING,
    INDETERMINATE,
    NO_FINDING,
    as_files,
    chart,
    children_of,
    drawn_series,
    toy_site,
)
from tests.peers.orthanc import Orthanc
from tests.peers.sekmet import Sekmet
from tests.peers.site import ISSUER, PATIENT_VIEW, Site, said
from tests.peers.valkey import Valkey
from tests.reference.dicom_factory import encoded

pytestmark = pytest.mark.peer

AOF = "appendonlydir"
IDS = ("patient id", "study id", "study uid", "encounter", "order", "identifier")
"""What must stand in a written resource: it says whose and of what it is."""


class Story:
    """Everything that happened to the site, told once for the module."""

    def __init__(self, site: Site, redis: Redis, archive: Relay, fhir: Relay) -> None:
        self.site, self.redis, self.archive, self.fhir = site, redis, archive, fhir
        self.planted = Planted()
        self.aof = b""
        self.answers: dict[str, str] = {}
        self.cards: dict[str, dict[str, Any]] = {}
        self.links: list[str] = []
        self.commands: dict[str, str] = {}
        self.keys_over_time: set[bytes] = set()

    # what is planted

    def patient(self, name: str) -> str:
        """The FHIR id of the patient of that name."""
        return self.planted.word(f"patient id {name}")

    def images(self, name: str, blob: float = FINDING, **elements: Any) -> list[Dataset]:
        """A series that says of whom it is wherever DICOM has a place for it."""
        of = self.planted.word
        series = drawn_series(
            self.planted.uid(f"study uid {name}"),
            blob=blob,
            SeriesInstanceUID=self.planted.uid(f"series uid {name}"),
            FrameOfReferenceUID=self.planted.uid(f"frame of reference {name}"),
            **elements,
        )
        for index, each in enumerate(series):
            each.SOPInstanceUID = self.planted.uid(f"instance uid {name} {index}")
            each.PatientName = f"{of('name')}^{of('given name')}"
            each.PatientID = elements.get("PatientID", self.identifier(name))
            each.PatientBirthDate, each.PatientAddress = "19010203", of("address")
            each.InstitutionName, each.StationName = of("institution"), of("station")
            each.ReferringPhysicianName = of("referrer")
            each.StudyDescription = f"{of('study description')} head"
            each.SeriesDescription = f"{of('series description')} ax"
            each.ProtocolName, each.ImageComments = of("protocol"), of("image comment")
            each.AccessionNumber, each.StudyID = of("accession"), of("study id dicom")
            each.ImageType = ["ORIGINAL", "PRIMARY", of("image type")]
            each.private_block(0x0009, of("private creator"), create=True).add_new(
                0x01, "LO", of("private value")
            )
        return series

    def identifier(self, name: str) -> str:
        """The MRN of the patient of that name."""
        return self.planted.word(f"identifier {name}")

    def prefetch(self, name: str, **study: Any) -> dict[str, Any]:
        """The chart of a patient, who is planted in every element."""
        of = self.planted.word
        made = chart(
            self.patient(name),
            self.planted.uid(f"study uid {name}"),
            identifier=self.identifier(name),
            study={
                "id": of(f"study id {name}"),
                "description": of("study text"),
                "note": [{"text": of("note")}],
                "encounter": {"reference": f"Encounter/{of('encounter')}"},
                "basedOn": [{"reference": f"ServiceRequest/{of('order')}"}],
                "referrer": {"display": of("referrer text")},
                "series": [
                    {
                        "uid": self.planted.uid(f"series uid {name}"),
                        "description": of("series text"),
                        "modality": {"code": "MR", "display": of("modality text")},
                    }
                ],
                **study,
            },
            patient={
                "name": [{"family": of("family"), "given": [of("given")], "text": of("full")}],
                "address": [{"line": [of("street")]}],
                "telecom": [{"system": "phone", "value": of("phone")}],
                "birthDate": "1901-02-03",
            },
        )
        identifiers = made["studies"]["entry"][0]["resource"]["identifier"]
        identifiers.append(
            {
                "type": {"coding": [{"code": "ACSN"}]},
                "value": of("accession"),
                "system": f"urn:{of('accession system')}",
            }
        )
        return made

    def call(self, name: str, **changes: Any) -> dict[str, Any]:
        """The members of a call beside its prefetch, planted too."""
        of = self.planted.word
        return {
            "context": {
                "userId": f"Practitioner/{of('user')}",
                "patientId": self.patient(name),
                "encounterId": of("context encounter"),
                of("context member"): of("context value"),
            },
            "fhirAuthorization": {
                "access_token": of("access token"),
                "token_type": "Bearer",
                "expires_in": 300,
                "scope": f"patient/*.read user/{of('scope')}.read",
                "subject": of("subject"),
                "patient": self.patient(name),
                of("authorization member"): of("authorization value"),
            },
            "extension": {of("extension member"): {"deep": [of("extension value")]}},
            of("member"): of("value"),
            **changes,
        }

    def token(self, path: str = PATIENT_VIEW, **claims: Any) -> str:
        """A token with claims and header members that nobody asked for."""
        of, now = self.planted.word, int(time.time())
        made = {
            "iss": ISSUER,
            "aud": self.site.base_url + path,
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid.uuid4()),
            "sub": of("claim subject"),
            "name": of("claim name"),
            of("claim"): of("claim value"),
            **claims,
        }
        headers = {"kid": "ehr-1", of("token header"): of("token header value")}
        signed = jwt.encode(made, self.site.ehr_key, algorithm="ES384", headers=headers)
        self.planted.add(f"token {len(self.planted.words)}", signed.rpartition(".")[2][-40:])
        return signed

    # what is done

    def post(self, what: str, path: str, body: Any, token: str | None = None) -> requests.Response:
        """One request of the EHR; its answer is kept."""
        got = requests.post(
            self.site.base_url + path,
            data=body if isinstance(body, str | bytes) else json.dumps(body),
            headers={
                "Authorization": f"Bearer {token or self.token(path.partition('?')[0])}",
                "Content-Type": "application/json",
                "X-Request-Id": self.planted.word("request id"),
                "User-Agent": self.planted.word("user agent"),
                "Cookie": f"a={self.planted.word('cookie')}",
            },
            timeout=10,
        )
        self.answers[what] = f"{got.status_code} {dict(got.headers)} {got.text}"
        return got

    def open_chart(self, name: str, sent: dict[str, Any] | None, **changes: Any) -> list[Any]:
        """One hook call with `sent` as its prefetch; its cards."""
        body = {
            "hook": "patient-view",
            "hookInstance": str(uuid.uuid4()),
            "fhirServer": self.site.fhir_base,
            **self.call(name, **changes),
        }
        if sent is not None:
            body.setdefault("prefetch", sent)
        got = self.post(f"hook {len(self.answers)} of {name}", PATIENT_VIEW, body)
        self.keys_over_time |= set(self.redis.scan_iter(count=1000))
        return list(got.json().get("cards", [])) if got.ok else []

    def ended(self, name: str, prefetch: dict[str, Any], within_s: float = 60) -> dict[str, Any]:
        """The card once nothing is under way."""
        until = time.monotonic() + within_s
        while True:
            cards = self.open_chart(name, prefetch)
            if cards and said(cards[0])["state"] in ("final", "abstained", "failed"):
                self.cards[name] = cards[0]
                self.links += [link["url"] for link in cards[0].get("links", [])]
                return said(cards[0])
            assert time.monotonic() < until, (name, cards, self.site.logs()[-3000:])
            time.sleep(0.1)


class Upstreams:
    """The faults of archive and EHR, each of which says the patient's name."""

    def __init__(self, story: Story) -> None:
        self.story = story

    def _quoting(self) -> str:
        of = self.story.planted.word
        return f"no such patient {of('quoted name')}, MRN {of('quoted identifier')}"

    def archive(self, seen: Seen) -> Reply | None:
        """An error with names in its body and header, for the study "echo"."""
        if self.story.planted.uid("study uid echo") not in seen.target:
            return None
        headers = {
            "Content-Type": "text/plain",
            "Warning": f'299 archive "{self._quoting()}"',
            "X-Patient": self.story.planted.word("echoed header"),
        }
        if seen.path.endswith("/series"):
            return None
        return answer(500, self._quoting().encode(), headers)

    def fhir(self, seen: Seen) -> Reply | None:
        """OperationOutcomes that quote the patient: to a read, and to what is written."""
        outcome = {
            "resourceType": "OperationOutcome",
            "issue": [
                {"severity": "error", "code": "processing", "diagnostics": self._quoting()},
                {"severity": "error", "code": "invalid", "details": {"text": self._quoting()}},
            ],
        }
        quoted = answer(
            422, json.dumps(outcome).encode(), {"Content-Type": "application/fhir+json"}
        )
        refused = self.story.patient("unwritable").encode()
        if seen.method in ("POST", "PUT") and refused in seen.body:
            return quoted
        unreadable = self.story.patient("unreadable")
        return quoted if seen.method == "GET" and unreadable in seen.target else None


@pytest.fixture(scope="module")
def story(
    valkey_factory: Any, orthanc: Orthanc, sekmet: Sekmet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    valkey: Valkey = valkey_factory(fsync="always")
    with Relay(orthanc.base_url) as archive, Relay(sekmet.base_url) as fhir:
        site = toy_site(
            tmp_path_factory.mktemp("site"),
            redis_url=valkey.url,
            archive_url=archive.base_url,
            fhir_base=fhir.base_url,
            settings='log_level = "DEBUG"',
        )
        redis = Redis.from_url(valkey.url)
        story = Story(site, redis, archive, fhir)
        faults = Upstreams(story)
        archive.instead, fhir.instead = faults.archive, faults.fhir
        try:
            site.start()
            told(story, orthanc, sekmet)
            story.aof = b"".join(
                path.read_bytes() for path in (valkey.process.folder / AOF).iterdir()
            )
            yield story
        finally:
            site.stop()
            redis.close()


def told(story: Story, orthanc: Orthanc, sekmet: Sekmet) -> None:
    """Every kind of end, then every door that takes words from outside."""
    _stored(story, orthanc)
    _written(story, sekmet)
    _analysed(story)
    _failed(story)
    _refused(story)
    _fed_back(story)
    _opened(story)
    for arguments in (["doctor", "--json"], ["jobs", "--json"], ["jobs", "--failed"]):
        done = story.site.command(*arguments)
        story.commands[" ".join(arguments)] = done.stdout + done.stderr


def _stored(story: Story, orthanc: Orthanc) -> None:
    """What the archive holds; "gone" it does not hold, and "other" is of somebody else."""
    for name, blob in (("final", FINDING), ("silent", NO_FINDING), ("abstained", INDETERMINATE)):
        orthanc.stow(as_files(story.images(name, blob)))
    unread = story.images("unread", Modality=story.planted.word("modality"), BodyPartExamined="TOE")
    orthanc.stow(as_files(unread))
    mixed = story.images("mixed")
    extra = drawn_series(
        str(mixed[0].StudyInstanceUID), 1, Modality=story.planted.word("second modality")
    )
    extra[0].PatientID, extra[0].SeriesDescription = mixed[0].PatientID, "scout"
    orthanc.stow(as_files([*mixed, *extra]))
    for name in ("echo", "unwritable", "unreadable"):
        orthanc.stow(as_files(story.images(name)))
    orthanc.stow(as_files(story.images("other", PatientID=story.planted.word("other identifier"))))
    orthanc.stow(undecodable(story.images("broken")))


def undecodable(series: list[Dataset]) -> list[bytes]:
    """The series in JPEG 2000 whose codestreams end early."""
    made = []
    for each in series:
        pixels = np.frombuffer(each.PixelData, "<u2").reshape(each.Rows, each.Columns)
        whole = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True))
        each.PixelData = encapsulate([whole[:200]])
        each["PixelData"].is_undefined_length = True
        each["PixelData"].VR = "OB"
        made.append(encoded(each, JPEG2000Lossless))
    return made


def _written(story: Story, sekmet: Sekmet) -> None:
    """The charts of those for whom something is written, as the EHR has them."""
    for name in ("final", "silent", "abstained", "mixed", "unreadable"):
        made = story.prefetch(name)
        study = made["studies"]["entry"][0]["resource"]
        for resource in (made["patient"], study):
            url = f"{sekmet.base_url}/{resource['resourceType']}/{resource['id']}"
            assert requests.put(url, json=resource, timeout=10).ok


def _analysed(story: Story) -> None:
    names = {"final": "final", "silent": "final", "abstained": "abstained", "mixed": "final"}
    for name, state in names.items():
        ended = story.ended(name, story.prefetch(name))
        assert ended["state"] == state, (name, ended, story.site.logs()[-3000:])
    assert story.ended("unread", story.prefetch("unread"))["state"] == "abstained"


def _failed(story: Story) -> None:
    """All on their way first, since each is tried twice."""
    kinds = {
        "gone": "gone",
        "echo": "server-error",
        "other": "identity",
        "broken": "undecodable",
        "unwritable": "rejected",
    }
    for name in kinds:
        story.open_chart(name, story.prefetch(name))
    for name, kind in kinds.items():
        ended = story.ended(name, story.prefetch(name))
        assert ended["state"] == "failed", (name, ended)
        assert ended["reasons"] == [kind], (name, ended)


def _refused(story: Story) -> None:
    """Calls that are answered with an error, each full of names."""
    of, good = story.planted.word, story.prefetch("final")
    failed = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "exception", "diagnostics": of("prefetch error")}],
    }
    story.open_chart("final", {**good, "studies": failed})
    story.open_chart("final", {**good, of("prefetch key"): {"resourceType": of("type")}})
    story.open_chart("unreadable", None)
    story.open_chart("final", good, fhirServer=f"http://{of('host')}.test/{of('path')}")
    story.open_chart("final", good, hook=of("hook"))
    story.open_chart("final", good, hookInstance=of("hook instance"))
    story.open_chart("final", good, context={"patientId": f"{of('bad id')} X", "userId": "a"})
    story.open_chart("final", good, prefetch={"studies": of("text for a bundle")})
    story.post("not json", PATIENT_VIEW, '{"patient": "' + of("broken json"))
    story.post("not an object", PATIENT_VIEW, [of("list")])
    story.post("too large", PATIENT_VIEW, '{"a": "' + of("large") * 200_000 + '"}')
    story.post("unknown service", f"/cds-services/{of('service')}", {})
    story.post("query", f"{PATIENT_VIEW}?patient={of('query')}", {of("body"): 1})
    for what, token in {
        "garbage": of("garbage"),
        "another audience": story.token(aud=f"https://{of('audience')}.test"),
        "another issuer": story.token(iss=f"https://{of('issuer')}.test/{of('issuer path')}"),
        "a strange id": story.token(jti=of("token id") * 40),
        "expired": story.token(exp=1, iat=0),
        "no claims": story.token(exp=of("no number")),
    }.items():
        assert story.post(what, PATIENT_VIEW, {}, token).status_code == 401, what
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        got = requests.request(
            method, f"{story.site.base_url}/{of('method path')}?{of('method query')}", timeout=10
        )
        story.answers[f"{method} elsewhere"] = got.text


def _fed_back(story: Story) -> None:
    """Comments name the patient; ids are those of nobody."""
    of, path = story.planted.word, f"{PATIENT_VIEW}/feedback"
    comment = {"userComment": f"{of('comment')} should be called at once"}
    reason = {"reason": {"code": of("reason"), "system": of("system")}, **comment}
    for what, card, override in (
        ("comment", story.cards["final"]["uuid"], comment),
        ("reason", story.cards["abstained"]["uuid"], reason),
        ("a stranger", of("card"), comment),
    ):
        entry = {
            "card": card,
            "outcome": "overridden",
            "overrideReason": override,
            "outcomeTimestamp": "2026-11-20T10:00:00Z",
            of("feedback member"): of("feedback value"),
        }
        assert story.post(f"feedback: {what}", path, {"feedback": [entry]}).ok
    bad = {"card": of("bad card") * 9, "outcome": of("outcome")}
    assert story.post("bad feedback", path, {"feedback": [bad]}).status_code == 400


def _opened(story: Story) -> None:
    """The pages behind the cards, and addresses that name somebody."""
    of = story.planted.word
    for link in set(story.links):
        page = requests.get(link, timeout=10)
        assert page.status_code == 200
        story.answers[link] = page.text
        for picture in ("0/image.png", "0/overlay.png", "0/figure.png") * ("/e/" in link):
            got = requests.get(f"{link}/{picture}", timeout=10)
            story.answers[f"{link}/{picture}"] = got.content.decode("latin-1")
    for path in (
        f"e/{of('page')}",
        f"e/{of('page')}?{of('page query')}",
        f"explanations/{of('explanation')}",
        f"models/{of('model')}/{of('version')}",
        f"viewer/{of('asset')}",
    ):
        got = requests.get(f"{story.site.base_url}/{path}", timeout=10)
        story.answers[path] = f"{dict(got.headers)} {got.text}"


def values_of(redis: Redis) -> dict[str, bytes]:
    """Every key -> everything in it, as this client reads it."""
    read: dict[Any, Any] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        b"stream": redis.xrange,
    }
    found = {}
    for key in redis.scan_iter(count=1000):
        value = read[redis.type(key)](key)
        found[key.decode("latin-1")] = b"\n".join(flat(value))
    return found


def flat(value: object) -> Iterator[bytes]:
    """The bytes of a reply of Redis, however deep."""
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, list | tuple | set):
        for each in value:
            yield from flat(each)
    else:
        yield value if isinstance(value, bytes) else str(value).encode()


@pytest.mark.parametrize(
    "spelled",
    [
        lambda text: text.encode(),
        lambda text: text.lower().encode(),
        lambda text: text.encode("utf-16-le"),
        lambda text: base64.b64encode(f"ab{text}c".encode()),
        lambda text: base64.urlsafe_b64encode(f"a{text.lower()}bcd".encode()),
        lambda text: text.encode().hex().encode(),
        lambda text: "".join(f"%{byte:02x}" for byte in text.encode()).encode(),
        lambda text: hashlib.sha256(text.encode()).hexdigest().encode(),
    ],
)
def test_the_search_sees_each_spelling(spelled: Callable[[str], bytes]) -> None:
    planted = Planted()
    for text in (planted.word("a word"), planted.uid("a uid")):
        around = b"before " + spelled(text) + b" after"
        assert planted.within(around) == [n for n, each in planted.words.items() if each == text]
    assert planted.within(b"nothing of either") == []


def test_the_story_had_every_kind_of_end(story: Story) -> None:
    """Otherwise the silence below would prove nothing."""
    ends = {name: said(card)["state"] for name, card in story.cards.items()}
    assert sorted(set(ends.values())) == ["abstained", "failed", "final"], ends
    statuses = {answered[:3] for what, answered in story.answers.items() if "hook" in what}
    assert {"200", "400", "403", "412"} <= statuses
    assert any("/e/" in link for link in story.links)
    assert [link for link in story.links if story.planted.within(link)] == []
    posted = b"".join(seen.body for seen in story.fhir.seen if seen.method == "POST")
    assert story.planted.within(posted), "a search that finds nothing anywhere is blind"


def test_no_log_line_at_any_level_names_anybody(story: Story) -> None:
    site = story.site
    lines = site.logs().splitlines()
    assert any('"level": "DEBUG"' in line for line in lines)
    assert len(lines) > 100
    assert story.planted.found({str(at): line for at, line in enumerate(lines)}) == {}


def test_no_key_and_no_value_in_redis_names_anybody(story: Story) -> None:
    values = values_of(story.redis)
    assert any(key.startswith("cds:study:") for key in values)
    assert story.planted.found(values) == {}
    keys = [key.decode("latin-1") for key in story.keys_over_time] + list(values)
    assert story.planted.within("\n".join(keys)) == []


def test_no_byte_of_the_append_only_file_names_anybody(story: Story) -> None:
    """It also holds what lived for a moment: orders, jobs, executions, leases."""
    assert b"cds:study:" in story.aof
    assert b"rq:job:" in story.aof
    assert story.planted.found({"append-only file": story.aof}) == {}


def test_no_byte_of_a_dump_names_anybody(story: Story) -> None:
    """As a backup would hold it."""
    story.redis.config_set("rdbcompression", "no")
    story.redis.save()
    at = {name: story.redis.config_get(name)[name] for name in ("dir", "dbfilename")}
    dump = (Path(at["dir"]) / at["dbfilename"]).read_bytes()
    assert b"cds:study:" in dump
    assert story.planted.found({"dump": dump}) == {}


def test_what_names_the_content_in_redis_cannot_be_tried_out(story: Story) -> None:
    """A plain digest of a UID would tell whoever has a list of UIDs which of them are here."""
    uid = story.planted.uid("study uid final")
    for instances in (None, 3):
        for ref in story_refs(uid, story.planted.uid("series uid final"), instances):
            for _, part in filter(None, content_keys(ref)):
                assert part.encode() not in story.aof
                assert part[:16].encode() not in story.aof


def story_refs(uid: str, series_uid: str, instances: int | None) -> Iterator[StudyRef]:
    """What an order for the study may have been digested from."""
    from fhir_mapping.study import SeriesRef

    for series in ((), (SeriesRef(series_uid),), (SeriesRef(series_uid, instances=instances),)):
        yield StudyRef(
            study_uid=uid,
            archive="archive",
            patient_reference=PatientRef("Patient/x").reference,
            instances=instances,
            series=series,
        )


def test_no_metric_names_anybody(story: Story) -> None:
    metrics = requests.get(f"{story.site.base_url}/metrics", timeout=10).text
    assert "scanhook" in metrics
    assert story.planted.found({"metrics": metrics}) == {}


def test_no_answer_names_anybody(story: Story) -> None:
    """Cards, errors, pages, pictures: whoever may see the patient has the chart for that."""
    assert len(story.answers) > 30
    assert story.planted.found(story.answers) == {}


def test_no_command_line_tool_names_anybody(story: Story) -> None:
    assert story.planted.found(story.commands) == {}


def test_no_file_of_the_site_names_anybody(story: Story) -> None:
    """Explanations are kept for weeks; the working folders are empty after their jobs.

    The audit trail says whose chart was read for whom, by logical ids and nothing else.
    """
    files = files_below(story.site.folder / "state")
    assert any(path.endswith("page.json") for path in files)
    audit = {path: files.pop(path) for path in list(files) if path.startswith("audit.jsonl")}
    assert story.planted.found(audit, but=("patient id", "study id", "user")) == {}
    assert story.planted.found({f"{path}\n": content for path, content in files.items()}) == {}
    assert story.planted.within("\n".join(files)) == []
    assert [path for path in files if ".dcm" in path.lower()] == []


def test_nothing_that_was_left_elsewhere_names_anybody(story: Story) -> None:
    """Temporary files too: the folder is the home and the place for them of web and worker."""
    files = files_below(story.site.folder)
    elsewhere = {path: each for path, each in files.items() if not path.startswith("state/")}
    assert any(path.endswith(".toml") for path in elsewhere)
    assert story.planted.found(elsewhere) == {}
    assert story.planted.within("\n".join(files)) == []


def test_no_process_shows_anybody_in_its_command_line_or_environment(story: Story) -> None:
    pids = [story.site.web.pid, story.site.worker.pid]
    pids += [child for pid in pids for child in children_of(pid)]
    assert len(pids) == 3
    shown = {
        f"{pid} {name}": Path(f"/proc/{pid}/{name}").read_bytes()
        for pid in pids
        for name in ("cmdline", "environ")
    }
    assert story.planted.found(shown) == {}


def test_addresses_hold_what_they_must_and_no_more(story: Story) -> None:
    """UIDs towards the archive; ids of its own resources and our identifiers towards the EHR."""
    towards_archive = {f"{seen.method} {seen.target}": seen.target for seen in story.archive.seen}
    uids = ("study uid", "series uid", "instance uid")
    assert story.planted.found(towards_archive, but=uids) == {}
    towards_ehr = {f"{seen.method} {seen.target}": seen.target for seen in story.fhir.seen}
    own = ("patient id", "study uid", "study id")
    assert story.planted.found(towards_ehr, but=own) == {}


def test_the_token_of_the_ehr_goes_to_the_ehr_alone_and_only_within_its_call(story: Story) -> None:
    for seen in story.archive.seen:
        assert story.planted.within(str(seen.headers) + str(seen.body)) == []
    used = [seen for seen in story.fhir.seen if "access token" in story.planted.within(str(seen))]
    assert used, "the chart was read with it"
    assert {seen.method for seen in used} == {"GET"}
    assert all("jwt" not in seen.headers for seen in used)


def test_what_is_written_holds_references_and_no_text_of_the_patient(story: Story) -> None:
    posted = {
        f"POST {index}": seen.body
        for index, seen in enumerate(story.fhir.seen)
        if seen.method == "POST"
    }
    assert posted
    allowed = (*IDS, "study id", "patient id", "accession")
    assert story.planted.found(posted, but=allowed) == {}
    assert not any(b"/e/" in body for body in posted.values()), "a link that opens must not stay"
