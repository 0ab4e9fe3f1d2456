"""``scanhook sandbox``: the demo EHR and the demo archive, for this or another CDS service."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from cds_service import logs
from cds_service.cli.stopping import hear_signals
from cds_service.sandbox import SandboxPlan, serve
from cds_service.settings import SandboxSecrets


@click.command(name="sandbox")
@click.option("--cds", required=True, help="Address of the CDS service that the charts call.")
@click.option(
    "--state",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the EHR's key and the demo studies are kept.",
)
@click.option(
    "--studies",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of DICOM files to make patients and charts of, too.",
)
@click.option("--ehr-port", default=0, help="0 takes a free one.")
@click.option("--archive-port", default=0, help="0 takes a free one.")
@click.option("--demo-studies/--no-demo-studies", default=True, help="The studies of the demo.")
def command(
    cds: str,
    state: Path,
    studies: Path | None,
    ehr_port: int,
    archive_port: int,
    demo_studies: bool,
) -> None:
    """The demo EHR and the demo archive, on loopback, until told to stop."""
    logs.configure()
    plan = SandboxPlan(
        cds_base=cds.rstrip("/"),
        state_folder=state,
        studies_folder=studies,
        with_demo=demo_studies,
        ehr_port=ehr_port,
        archive_port=archive_port,
        archive_token=SandboxSecrets().archive_token.get_secret_value(),
    )
    with serve(plan) as sandbox:
        click.echo(f"charts: {sandbox.ehr_url}/")
        click.echo(f"archive: {sandbox.archive_url}")
        hear_signals()
        with contextlib.suppress(KeyboardInterrupt):
            sandbox.wait()
