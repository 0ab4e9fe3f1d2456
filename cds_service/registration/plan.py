"""What to try before anybody sees a card: steps, and what each must show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cds_service.queue.state import State
from cds_service.registration import facts
from cds_service.registration.facts import Subject
from cds_service.sandbox.demo_studies import HEADS, WITHOUT_MODEL
from inference.analysis import Outcome

CARDS = {
    Outcome.FINDING: "AI suggests possible ... on ...; not reviewed by a person",
    Outcome.NO_FINDING: "AI found none of the findings it looks for on ...",
    Outcome.INDETERMINATE: "AI gave no usable answer on ...: indeterminate",
    Outcome.MEASURED: "AI outlined ... on ...; not reviewed by a person",
    Outcome.NOT_ANALYSED: "... was not analysed by AI",
}
"""What begins or ends the summary of the card of each outcome (`cds_service.cards`)."""


@dataclass(frozen=True)
class Step:
    """One thing to do, and what must be seen."""

    do: str
    see: str


def steps(about: Subject) -> tuple[Step, ...]:
    """From the network to a card, in the order in which things can go wrong."""
    return (*_connecting(about), *_calling(about), *_writing(about))


def _connecting(about: Subject) -> Iterator[Step]:
    opened = about.settings.hook.discovery_open
    yield Step("on our machine: `scanhook doctor`", "every line is ok")
    yield Step(
        f"from the EHR's network: GET {about.url(facts.DISCOVERY_PATH)}"
        + ("" if opened else " with a signed token"),
        f"200 with {len(facts.services(about))} services, as in discovery.json",
    )
    yield Step(f"GET {about.url(facts.KEYS_PATH)}", "200 with the keys of jwks.json")
    examined = f"scanhook conformance {about.settings.base_url}"
    yield Step(
        f"from anywhere, as a caller that we do not know: `{examined}`",
        "no requirement is broken, and it ends by saying that little was examined: our service"
        " refuses its tokens, and what stands behind them is not seen",
    )
    yield Step(
        f"the same as a caller that we know: `{examined} --issuer ISSUER --key FILE --jwks-out"
        " KEYS`, on a test system that has a tenant with this issuer and KEYS as its jwks_file",
        "no requirement is broken; each that was not examined has its reason",
    )


def _calling(about: Subject) -> Iterator[Step]:
    view = next(row for row in facts.services(about) if row["hook"] == "patient-view")
    yield Step(f"POST {view['url']} without a token", "401, and nothing that says why")
    yield Step("the same with a token whose aud is another service", "the same 401")
    yield Step("the same call with one token twice", "200, then the same 401")
    yield Step("a chart without imaging studies", "200 and no card")
    yield Step(
        "a chart with a study that was never seen",
        f"200; the study is {State.RECEIVED.value} and, if cards of that are shown here"
        f" ({_yes(about.settings.hook.show_pending)}), a card says that it waits",
    )
    yield Step("the same chart a minute later", "a card of the table of expected cards")
    yield Step("set that card aside with a reason", "200 from its feedback address")


def _writing(about: Subject) -> Iterator[Step]:
    if about.tenant.backend == "none":
        yield Step("look for reports in the chart", "none: nothing is written to this EHR")
        return
    yield Step(
        "look for reports in the chart",
        "one DiagnosticReport, preliminary, with an Observation for each result",
    )
    yield Step("the same study again", "the same report, in a new version at the most")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


@dataclass(frozen=True)
class ExpectedCard:
    """A study of the sandbox: what it shows, and the cards that are right for it."""

    study: str
    shows: str
    outcomes: tuple[str, ...]
    labels: tuple[str, ...]
    cards: str


def expected_cards() -> tuple[ExpectedCard, ...]:
    """Of each study of `scanhook sandbox`, with all the models that come along in use."""
    heads = [(head.key, head.truth, sorted(head.expected), head.labels) for head in HEADS]
    others = [(key, truth, [str(Outcome.NOT_ANALYSED)], ()) for key, _, truth in WITHOUT_MODEL]
    return tuple(
        ExpectedCard(
            key,
            truth,
            tuple(outcomes),
            tuple(labels),
            "; or ".join(CARDS[Outcome(outcome)] for outcome in outcomes),
        )
        for key, truth, outcomes, labels in (*heads, *others)
    )
