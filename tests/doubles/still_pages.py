"""Pages of values that never change: operations, a launch, what is withdrawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from flask import Flask, send_file

from cds_service import viewer as viewer_package
from cds_service.ops.credential import Credential
from cds_service.ops.drift import Baseline, Drift, Recent
from cds_service.ops.page import OpsPages
from cds_service.ops.reading import Compared, ModelState, Reader, ServedBy, Standing, by_kind
from cds_service.ops.routes import ops_blueprint
from cds_service.ops.upstreams import Health, Upstream
from cds_service.queue.listing import JobRow, WorkerRow
from cds_service.shadow.ledger import ModelName, Watched
from cds_service.smart.errors import OtherPatient
from cds_service.smart.pages import LaunchPages
from cds_service.viewer.render import Pages
from tests.doubles.listening import listening

OPS_LOGIN = {"username": "ops", "password": "the-secret-of-the-operations-page"}
NOW_S = 1_800_000_000.0
STATIC = Path(viewer_package.__file__).parent / "static"


def _study(number: int, state: str = "final", kind: str = "", **steps_s: float) -> JobRow:
    name = f"{number:02x}" * 16
    return JobRow(name, state, "routine", 1 + bool(kind), kind, 900.0, 40.0 * number, steps_s)


_FAILED = tuple(_study(n, "failed", "unreachable", received=0.2, fetching=8.1) for n in range(1, 7))
_ODD = _study(7, "failed", "identity-mismatch", received=0.1, fetching=1.4)
_RUNNING = _study(8, "inferring", received=0.4, fetching=2.2, inferring=3.1)
_ENDED = tuple(
    _study(n, received=0.2, fetching=1.9, inferring=4.4, writing=0.3) for n in range(9, 15)
)
_TESTED = Baseline(400, 0.02, 0.11)
_TUMOUR = ModelState(
    name=ModelName("brain-mri-tumour", "1.0.0"),
    served=(ServedBy("int8", "held every gate", ("worker-a", "worker-b")),),
    off_since_s=None,
    shadow=Watched(ModelName("brain-mri-tumour", "1.0.0"), recent=200, recent_disagreed=4),
    recent=Recent("int8", 182, 12, 34),
    tested=_TESTED,
    strange=Compared(12, 0.02, Drift.MORE),
    silent=Compared(34, 0.11, Drift.MORE),
)
_XRAY = replace(
    _TUMOUR,
    name=ModelName("chest-xray-pneumonia", "0.3.0-rc.1"),
    off_since_s=int(NOW_S) - 7200,
    shadow=Watched(ModelName("chest-xray-pneumonia", "0.3.0-rc.1")),
    recent=Recent(),
    strange=Compared(0, None, Drift.NOT_TESTED),
    silent=Compared(0, None, Drift.NOT_TESTED),
)
_QUIET = replace(
    _TUMOUR,
    recent=Recent("int8", 8, 1, 2),
    strange=Compared(1, 0.02, Drift.TOO_FEW),
    silent=Compared(2, 0.11, Drift.TOO_FEW),
)
BUSY = Standing(
    at_s=NOW_S,
    waiting={"stat": 0, "routine": 1, "backfill": 1204},
    open_studies=1206,
    failed_studies=7,
    workers=(
        WorkerRow("worker-a-1-f3a9", "busy", 1.0, _RUNNING.study, 3.1, 700 * 2**20),
        WorkerRow("worker-b-1-09bc", "idle", 2.0, rss_bytes=641 * 2**20),
        WorkerRow("a-host-with-a-rather-long-name-1-77aa", "busy", 300.0),
    ),
    under_way=(_RUNNING, _study(15, "received", received=61.0)),
    ended=_ENDED,
    failures=by_kind([*_FAILED, _ODD]),
    models=(_TUMOUR, _XRAY),
    upstreams=(
        Health(Upstream("archive", "pacs"), int(NOW_S) - 40, int(NOW_S) - 8, "unreachable"),
        Health(Upstream("fhir", "north"), int(NOW_S) - 5),
        Health(Upstream("keys", "north")),
    ),
    counts={"ordered": 12803, "final": 11990, "abstained": 799, "failed": 7},
    rights={"north": "the EHR granted no writing of Observation"},
)
CALM = replace(
    BUSY,
    waiting=dict.fromkeys(BUSY.waiting, 0),
    open_studies=0,
    failed_studies=0,
    workers=BUSY.workers[1:2],
    under_way=(),
    ended=(),
    failures=(),
    models=(_QUIET,),
    upstreams=BUSY.upstreams[1:],
    counts={},
    rights={},
)


@dataclass
class _Told:
    """A reader whose answers never change."""

    standing: Standing

    def read(self) -> Standing:
        return self.standing

    def study(self, study: str) -> JobRow | None:
        failed = (row for kind in self.standing.failures for row in kind.studies)
        rows = (*self.standing.under_way, *failed)
        return next((row for row in rows if row.study == study), None)


FAILED_STUDY = _ODD.study


def _still() -> dict[str, Callable[[], str]]:
    launch, viewer = LaunchPages(), Pages()
    studies = [("MR of 2026-01-09", "#1"), ("CT of 2025-11-30", "#2"), ("CR without a date", "#3")]
    return {
        "choose": lambda: launch.choose(studies),
        "ended": lambda: launch.ended(OtherPatient()),
        "recalled": viewer.recalled,
        "superseded": viewer.superseded,
    }


@contextmanager
def still_site() -> Iterator[str]:
    """The address of ``/ops`` and ``/calm/ops``, behind `OPS_LOGIN`, and ``/still/<name>``."""
    app, still = Flask("still", static_folder=None), _still()
    for prefix, standing in ((None, BUSY), ("/calm", CALM)):
        credential = Credential(OPS_LOGIN["password"])
        told = cast(Reader, _Told(standing))
        page = ops_blueprint(told, credential, OpsPages(), clock_s=lambda: NOW_S)
        app.register_blueprint(page, name=f"ops-{standing is BUSY}", url_prefix=prefix)
    app.add_url_rule("/still/<name>", "still", lambda name: still[name]())
    app.add_url_rule("/viewer/<name>", "asset", lambda name: send_file(STATIC / name))
    with listening(app) as address:
        yield address
