"""``scanhook conformance``: is this a CDS Hooks service? Any service, examined from outside."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.asymmetric import ec
from rich.table import Table
from rich.text import Text

from cds_service.cli import EXIT_BAD_ANSWER, NotThere
from cds_service.cli.addresses import base_address
from cds_service.cli.output import console, folding_table, printable
from cds_service.conformance.catalogue import CHECKS, of_requirements
from cds_service.conformance.examination import Examination, NotApplicable, Subject
from cds_service.conformance.exchange import EnoughAsked, NoAnswer
from cds_service.conformance.findings import Finding, Verdict, examine
from cds_service.conformance.hooks import Who
from cds_service.conformance.identity import Identity
from cds_service.conformance.listening import Listener
from cds_service.conformance.report import as_json, as_junit, counts, fails
from cds_service.conformance.shapes import is_segment
from cds_service.conformance.transport import HttpSender, fhir_reader
from cds_service.security.keys import (
    SigningKey,
    generate_signing_key,
    load_signing_key,
    public_jwks,
)
from cds_service.strict_json import load_json

ISSUER = "https://conformance.invalid"
"""Who signs unless told otherwise: a name that can be nobody's (RFC 6761, 6.4)."""

_STYLES = {"SHALL": "bold red", "SHOULD": "yellow"}
_IDS = sorted({check.id for check in CHECKS})


@dataclass(frozen=True)
class _Plan:
    """The options, as they were given."""

    url: str
    patient: str
    user: str
    encounter: str
    prefetch: Path | None
    fhir: str
    fhir_token_file: Path | None
    origin: str
    service: tuple[str, ...]
    call: tuple[str, ...]
    only: tuple[str, ...]
    issuer: str
    jku: str
    key: Path | None
    jwks_out: Path | None
    serve_jwks: int | None
    ca: Path | None
    as_json: bool
    junit: Path | None
    strict: bool
    quiet: bool


_FILE = click.Path(path_type=Path, dir_okay=False)
_READ = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(name="conformance")
@click.argument("url")
@click.option("--patient", default="example", help="Id of the patient that calls are about.")
@click.option("--user", default="Practitioner/example", help="Reference of who calls.")
@click.option("--encounter", default="example", help="Id of the encounter.")
@click.option("--prefetch", type=_READ, help="JSON object: a value for each prefetch key.")
@click.option("--fhir", default="", help="FHIR server: fills the prefetch, and is sent along.")
@click.option("--fhir-token-file", type=_READ, help="Access token for the FHIR server.")
@click.option("--origin", default="", help="Browser origin that the service allows.")
@click.option("--service", multiple=True, help="Only the service of this id; repeatable.")
@click.option("--call", multiple=True, metavar="HOOK=ID", help="A service that is not listed, too.")
@click.option("--only", multiple=True, metavar="ID", help="Only this requirement; repeatable.")
@click.option("--issuer", default=ISSUER, show_default=True, help="Who signs the tokens.")
@click.option("--jku", default="", help="Address of our key set that the tokens name.")
@click.option("--key", type=_FILE, help="Our private key; made there if it is not there.")
@click.option("--jwks-out", type=_FILE, help="Write our public key set, for the service to know.")
@click.option("--serve-jwks", type=int, metavar="PORT", help="Serve it on loopback; 0: free port.")
@click.option("--ca", type=_READ, help="Certificates to trust, instead of the usual ones.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on the standard output.")
@click.option("--junit", type=_FILE, help="Write JUnit XML, too.")
@click.option("--strict", is_flag=True, help="Exit 1 for a SHOULD that is broken, too.")
@click.option("--quiet", is_flag=True, help="Show only what is broken or was not examined.")
def command(**options: Any) -> None:
    """Examine the CDS Hooks service at URL from outside; exit 1 if it breaks a SHALL.

    URL is the base address, with or without /cds-services. Without --prefetch and --fhir the chart
    is an empty one that is made up. Cards of the service are never answered.
    """
    plan = _Plan(**options)
    checks = of_requirements(*plan.only)
    if plan.only and {check.id.lower() for check in checks} < {name.lower() for name in plan.only}:
        raise click.UsageError(f"--only takes one of {', '.join(_IDS)}")
    key = _key(plan.key)
    if plan.jwks_out:
        plan.jwks_out.write_text(json.dumps(public_jwks([key]), indent=2), encoding="utf-8")
    with _examination(plan, key) as exam:
        _reach(exam)
        with console().status("asking ...") as status:
            findings = examine(exam, checks, lambda check: status.update(f"{check.sentence} ..."))
        _tell(plan, exam, findings)
        failing = fails(findings, strict=plan.strict)
        _let_in(exam, failing=failing)
    if failing:
        raise SystemExit(EXIT_BAD_ANSWER)


def _key(path: Path | None) -> SigningKey:
    """The key of this file, a new one in it, or one that is forgotten afterwards."""
    if path is None:
        return SigningKey(uuid.uuid4().hex, "ES384", ec.generate_private_key(ec.SECP384R1()))
    return load_signing_key(path) if path.exists() else generate_signing_key(path)


@contextlib.contextmanager
def _examination(plan: _Plan, key: SigningKey) -> Iterator[Examination]:
    """The examination, with its connections and its listener for as long as it is entered."""
    base_url, authorities = base_address(plan.url), str(plan.ca) if plan.ca else None
    with contextlib.ExitStack() as stack:
        sender = HttpSender(base_url, authorities=authorities)
        stack.callback(sender.close)
        token, read = "", None
        if plan.fhir_token_file:
            token = plan.fhir_token_file.read_text(encoding="utf-8").strip()
        if plan.fhir and not plan.prefetch:
            chart = HttpSender(base_address(plan.fhir), authorities=authorities)
            stack.callback(chart.close)
            read = fhir_reader(chart, token)
        jku, canary = plan.jku, None
        if plan.serve_jwks is not None:
            canary = stack.enter_context(Listener(public_jwks([key]), plan.serve_jwks))
            jku = jku or canary.keys_url
        yield Examination(
            base_url=base_url,
            sender=sender,
            identity=Identity(plan.issuer, key, jku),
            subject=Subject(
                who=Who(plan.patient, plan.user, plan.encounter),
                prefetch=load_json(plan.prefetch.read_bytes()) if plan.prefetch else None,
                read=read,
                fhir_server=plan.fhir,
                access_token=token if plan.fhir else "",
                origin=plan.origin,
            ),
            canary_url=canary.url if canary else "",
            canary=canary.asked if canary else [],
            only=plan.service,
            unlisted=tuple(_unlisted(text) for text in plan.call),
        )


def _unlisted(text: str) -> dict[str, str]:
    """A service as discovery would list it."""
    hook, _, id_ = text.partition("=")
    if not hook or not is_segment(id_):
        raise click.UsageError("--call takes HOOK=ID, as in patient-view=greeter")
    return {"hook": hook, "id": id_}


def _reach(exam: Examination) -> None:
    try:
        exam.discovery  # noqa: B018  asks, and keeps the answer
    except NoAnswer as error:
        raise NotThere(error.sentence) from None


def _let_in(exam: Examination, *, failing: bool) -> None:
    """Say what to do when nothing was called, or nothing but refusals was seen."""
    try:
        admitted = exam.admitted
    except NotApplicable as reason:
        if failing:  # what is broken says why
            return
        raise NotThere(f"Little was examined: {reason}.") from None
    except (NoAnswer, EnoughAsked):
        return
    if not admitted:
        raise NotThere(
            f"The service refuses our tokens, so little was examined: register the issuer"
            f" {exam.identity.issuer} with our key set (--key FILE --jwks-out FILE, or"
            " --serve-jwks PORT) and run this again with the same --key."
        )


def _tell(plan: _Plan, exam: Examination, findings: Sequence[Finding]) -> None:
    if plan.junit:
        plan.junit.write_bytes(as_junit(exam, findings, strict=plan.strict))
    if plan.as_json:
        click.echo(json.dumps(as_json(exam, findings), indent=2))
        return
    counted, where = counts(findings), console()
    where.print(_table(exam, findings, quiet=plan.quiet))
    for reason, ids in _left(findings).items():
        said = Text(f"not examined, because {printable(reason)}: {', '.join(ids)}", style="dim")
        where.print(said)
    where.print(
        f"{counted['kept']} kept, {counted['SHALL']} SHALL and {counted['SHOULD']} SHOULD broken,"
        f" {counted['not examined']} not examined, with {exam.requests} requests",
        highlight=False,
    )


def _table(exam: Examination, findings: Sequence[Finding], *, quiet: bool) -> Table:
    """What was looked at; `quiet` leaves out what is kept."""
    table = folding_table("id", "level", "found", "what has to hold", title=exam.base_url)
    for finding in findings:
        check, broken = finding.check, finding.verdict is Verdict.BROKEN
        if broken or (finding.verdict is Verdict.KEPT and not quiet):
            style = _STYLES[check.level] if broken else "green"
            said = "".join(f"\n- {printable(sentence)}" for sentence in finding.sentences)
            holds = Text(check.sentence).append(said, style=style)
            table.add_row(check.id, check.level, Text(finding.verdict, style=style), holds)
    return table


def _left(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """Requirements that were not examined, by the reason."""
    left: dict[str, list[str]] = {}
    for finding in findings:
        if finding.verdict is Verdict.NOT_EXAMINED:
            ids = left.setdefault(finding.sentences[0], [])
            ids += [finding.check.id] if finding.check.id not in ids else []
    return left
