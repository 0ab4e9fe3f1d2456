"""``scanhook build``: the toolchain of ``models.build``, which needs the [build] extra."""

from __future__ import annotations

import click

from cds_service.cli import NotThere


@click.command(
    name="build", context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Train, calibrate and package a model (needs the [build] extra)."""
    try:
        from models.build.cli import build
    except ModuleNotFoundError as error:
        raise NotThere(
            f"{error.name} is not installed: pip install torch==2.13.0 'scanhook[build]'"
        ) from None
    build.main(args=list(arguments), prog_name="scanhook build")
