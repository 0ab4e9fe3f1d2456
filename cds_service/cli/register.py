"""``scanhook register``: one folder with everything that an EHR's vendor asks for."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from cds_service import settings
from cds_service.bootstrap import Site
from cds_service.registration.errors import PackInTheWay
from cds_service.registration.facts import subject
from cds_service.registration.pack import pack, write_pack
from cds_service.registration.pictures import Pictures, browser, pictures
from cds_service.registration.vendors import Vendor


@click.command(name="register")
@click.option("--vendor", type=click.Choice(get_args(Vendor)), required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to make; its parents are made, too.",
)
@click.option("--tenant", default="", help="For which EHR; needed where there are several.")
@click.option("--force", is_flag=True, help="Replace an older pack.")
@click.option(
    "--screenshots/--no-screenshots", default=True, help="Pictures of a card and its page."
)
@click.pass_obj
def command(
    config: Path | None, vendor: Vendor, out: Path, tenant: str, force: bool, screenshots: bool
) -> None:
    """Write everything that a vendor asks for into one folder, from the settings alone."""
    about = subject(Site(settings.load(config)), tenant)
    if out.exists() and not force:
        raise PackInTheWay(f"{out} is there already; --force replaces an older pack")
    made = Pictures(missing="They were not asked for.")
    if screenshots:
        made = pictures(about.site, about.tenant, browser())
    files = pack(about, vendor, made)
    write_pack(files, out, force=force)
    click.echo(f"{out}: {len(files)} files, begin with README.md")
    if made.missing:
        click.echo(f"no screenshots: {made.missing}", err=True)
