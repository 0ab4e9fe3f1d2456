"""The command that makes a model again."""

from __future__ import annotations

from pathlib import Path

import click

from models.registry import BUNDLED

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("model", type=click.Choice(["brain-mri-tumour"]))
@click.option("--data", required=True, type=_FOLDER, help="Folder of brain_cls and brain_seg.")
@click.option("--work", required=True, type=_FOLDER, help="Folder for checkpoints; kept.")
@click.option("--out", type=_FOLDER, help="Where the package goes; by default into the source.")
@click.option("--quick", is_flag=True, help="A smoke run of a minute; the result is of no use.")
def build(model: str, data: Path, work: Path, out: Path | None, *, quick: bool) -> None:
    """Train, calibrate, measure and package MODEL; a stopped run goes on where it was."""
    try:
        from models.build.pipeline import Order, build_package
    except ImportError as error:
        raise click.ClickException(
            f'{error.name} is not installed; pip install "scanhook[build]" has what a build needs.'
        ) from error
    if quick and out is None:
        raise click.UsageError("--quick needs --out: its result must not replace a real model.")
    recipe = BUNDLED / model / "recipe.toml"
    order = Order(model, data, work, out or BUNDLED / model, recipe, smoke=quick)
    build_package(order, click.echo)
