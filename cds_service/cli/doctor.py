"""``scanhook doctor``: try everything that is configured, one line each, with what to do."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from cds_service import settings
from cds_service.bootstrap import Site
from cds_service.cli import EXIT_BAD_ANSWER
from cds_service.cli.output import printable
from cds_service.doctor import KINDS, Finding, examine, trials


@click.command(name="doctor")
@click.option("--only", multiple=True, type=click.Choice(KINDS), help="Only this; repeatable.")
@click.option("--here", is_flag=True, help="Only a worker of this machine counts.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on the standard output.")
@click.option("--quiet", is_flag=True, help="Say nothing but what is not well.")
@click.pass_obj
def command(
    config: Path | None, only: tuple[str, ...], here: bool, as_json: bool, quiet: bool
) -> None:
    """Try everything that is configured, one line each; exit 1 if something is not well."""
    site = Site(settings.load(config))
    findings = []
    for trial in trials(site, here=here):
        if only and trial.kind not in only:
            continue
        finding = examine(trial)
        findings.append(finding)
        if not as_json and not (quiet and finding.well):
            _print(finding)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    elif not findings and not quiet:
        click.echo("nothing to try: the settings name nothing of this kind")
    if not all(finding.well for finding in findings):
        raise SystemExit(EXIT_BAD_ANSWER)


def _print(finding: Finding) -> None:
    mark = click.style("ok", fg="green") if finding.well else click.style("not well", fg="red")
    what, said = printable(finding.what), printable(finding.said)
    click.echo(f"{mark:>8}  {what}: {said} ({finding.took_ms:.0f} ms)")
    if finding.advice:
        click.echo(f"          {printable(finding.advice)}")
