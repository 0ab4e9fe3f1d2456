"""``scanhook models``: list, show and check the model packages."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markdown import Markdown
from rich.table import Table

from cds_service.cli import EXIT_BAD_ANSWER, NotThere
from cds_service.cli.output import console
from inference.pipeline import check_package
from models.registry import ModelPackage, Registry, load_registry


@click.group(name="models")
@click.option(
    "--models-dir",
    "folders",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="A further folder of packages; may be given again.",
)
@click.pass_context
def command(context: click.Context, folders: tuple[Path, ...]) -> None:
    """List, show and check the model packages."""
    context.obj = load_registry(folders)


@command.command("list")
@click.pass_obj
def list_models(registry: Registry) -> None:
    """One line for each package."""
    table = Table("id", "version", "title", "stage", "precisions", "modalities")
    for package in registry.packages:
        manifest = package.manifest
        table.add_row(
            manifest.id,
            manifest.version,
            manifest.title,
            manifest.stage,
            ", ".join(package.precisions),
            ", ".join(manifest.applies_to.modalities),
        )
    console().print(table)


@command.command("show")
@click.argument("model_id")
@click.pass_obj
def show(registry: Registry, model_id: str) -> None:
    """The model card: what it is for, its figures, its limits."""
    card = _package(registry, model_id).folder / "CARD.md"
    console().print(Markdown(card.read_text(encoding="utf-8")))


@command.command("check")
@click.argument("model_id", required=False)
@click.pass_obj
def check(registry: Registry, model_id: str | None) -> None:
    """Run the reference cases of one package, or of all; exit 1 if one answers otherwise."""
    chosen = [_package(registry, model_id)] if model_id else registry.packages
    failed = False
    for package in chosen:
        problems = check_package(package)
        failed = failed or bool(problems)
        name = f"{package.manifest.id} {package.manifest.version}"
        click.echo(f"{name}: {'; '.join(problems) if problems else 'ok'}")
    if failed:
        raise SystemExit(EXIT_BAD_ANSWER)


def _package(registry: Registry, model_id: str) -> ModelPackage:
    for package in registry.packages:
        if package.manifest.id == model_id:
            return package
    known = ", ".join(package.manifest.id for package in registry.packages)
    raise NotThere(f"there is no model {model_id!r}; there are: {known}")
