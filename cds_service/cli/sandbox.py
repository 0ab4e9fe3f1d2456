"""``scanhook sandbox``: the demo EHR and the demo archive, for this or another CDS service."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from cds_service import logs
from cds_service.cli.addresses import base_address
from cds_service.cli.stopping import hear_signals
from cds_service.clients.errors import UpstreamError
from cds_service.sandbox import SandboxPlan, serve
from cds_service.security.egress import NotAllowed
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
@click.option("--archive", default="", help="Another archive's DICOMweb base, to take charts from.")
@click.option("--fhir", default="", help="Another FHIR server's base, whose charts are shown.")
@click.option("--fhir-as", default="", help="Its address as the CDS service knows it, if another.")
@click.option("--ehr-port", default=0, help="0 takes a free one.")
@click.option("--archive-port", default=0, help="0 takes a free one.")
@click.option("--operations", default="", help="A page of operations that the charts link to.")
@click.option("--demo-studies/--no-demo-studies", default=True, help="The studies of the demo.")
def command(
    cds: str,
    state: Path,
    studies: Path | None,
    archive: str,
    fhir: str,
    fhir_as: str,
    ehr_port: int,
    archive_port: int,
    operations: str,
    demo_studies: bool,
) -> None:
    """The demo EHR and the demo archive, on loopback, until told to stop.

    Tokens for another archive or FHIR server: SCANHOOK_SANDBOX_ARCHIVE_TOKEN and
    SCANHOOK_SANDBOX_FHIR_TOKEN in the environment.
    """
    logs.configure()
    secrets = SandboxSecrets()
    plan = SandboxPlan(
        cds_base=base_address(cds),
        state_folder=state,
        studies_folder=studies,
        with_demo=demo_studies,
        ehr_port=ehr_port,
        archive_port=archive_port,
        archive_token=secrets.archive_token.get_secret_value(),
        other_archive=archive.rstrip("/"),
        other_fhir=fhir.rstrip("/"),
        fhir_as=fhir_as.rstrip("/"),
        fhir_token=secrets.fhir_token.get_secret_value(),
        operations=operations,
    )
    try:
        sandbox = serve(plan)
    except (NotAllowed, UpstreamError) as error:
        raise click.ClickException(error.sentence) from None
    with sandbox:
        click.echo(f"charts: {sandbox.ehr_url}/")
        click.echo(f"archive: {sandbox.archive_url}")
        click.echo(f"FHIR: {sandbox.fhir_url}")
        hear_signals()
        with contextlib.suppress(KeyboardInterrupt):
            sandbox.wait()
