"""What the operations page says in words: what needs a person, and how long ago something was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from cds_service.ops.drift import FEWEST, Drift
from cds_service.ops.reading import Compared, ModelState, Standing
from cds_service.ops.upstreams import Health
from cds_service.wording import counted

UPSTREAMS = {"archive": "Archive", "fhir": "FHIR server", "keys": "Key set"}


def attention(standing: Standing) -> tuple[str, ...]:
    """A sentence for each thing that somebody should look at, the gravest first."""
    return tuple([*_work(standing), *_models(standing), *_upstreams(standing), *_rights(standing)])


def _work(standing: Standing) -> Iterator[str]:
    if not any(worker.live for worker in standing.workers):
        yield "No worker is there: nothing is analysed."
    if standing.failed_studies:
        studies = counted(standing.failed_studies, "study was", "studies were")
        yield f"{studies} given up."


def _models(standing: Standing) -> Iterator[str]:
    for model in standing.models:
        if model.off_since_s is not None:
            yield f"{model.name} is switched off."
            continue
        if any(not how.precision for how in model.served):
            yield f"{model.name} is not served everywhere."
        if model.shadow.fallen_since_s is not None:
            yield f"{model.name} runs in fp32, because its precisions disagreed."
        for what, compared in (
            ("meets images unlike those it was trained on", model.strange),
            ("states no answer", model.silent),
        ):
            if compared.said is Drift.MORE:
                yield f"{model.name} {what} more often than in its test."


def _upstreams(standing: Standing) -> Iterator[str]:
    for health in standing.upstreams:
        if failing(health):
            what = UPSTREAMS[health.upstream.kind]
            yield f"{what} {health.upstream.name} failed when it was last asked."


def _rights(standing: Standing) -> Iterator[str]:
    for tenant, sentence in standing.rights.items():
        yield f"{tenant}: {sentence}."


def failing(health: Health) -> bool:
    """Whether the last that was heard of an upstream is a failure."""
    return health.failed_s > health.well_s


def upstream_state(health: Health) -> str:
    """One word or two for an upstream."""
    if failing(health):
        return "failing"
    return "well" if health.well_s else "not asked yet"


def share(compared: Compared, of: int) -> str:
    """The last results of a kind, with their number: a share of few is no share."""
    if not of:
        return "none yet"
    said = f"{compared.count} of {of}"
    return f"{said} ({percent(compared.count / of)})" if of >= FEWEST else said


def expected(compared: Compared, model: ModelState) -> str:
    """The same on the test split."""
    if compared.expected is None or model.tested is None:
        return "not measured"
    images = model.tested.images
    return f"{round(compared.expected * images)} of {images} ({percent(compared.expected)})"


def percent(value: float) -> str:
    """A share of 1 in per cent, one digit below ten."""
    return f"{value:.0%}" if value >= 0.0995 else f"{value:.1%}"


def memory(rss_bytes: int) -> str:
    """Memory as people read it."""
    return f"{rss_bytes / 2**20:,.0f}\u00a0MiB"


def moment(at_s: float) -> str:
    """Epoch seconds as date and time in UTC."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
