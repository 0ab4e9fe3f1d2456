"""``scanhook models``: list, show, check and switch the model packages; clear a fallback."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
from rich.markdown import Markdown

from cds_service import settings
from cds_service.bootstrap import Site
from cds_service.cli import EXIT_BAD_ANSWER, NotThere
from cds_service.cli.output import add_row, console, folding_table, printable
from cds_service.errors import UnsafeSettings
from cds_service.queue import QueueError, web_connection
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
    """List, show, check, switch and clear the model packages."""
    site = _site(context.obj)
    context.obj = Shelf(
        site, load_registry((*folders, *(site.settings.models_dirs if site else ())))
    )


@dataclass(frozen=True)
class Shelf:
    """The packages, and the site that they serve, if there are settings."""

    site: Site | None
    registry: Registry


@command.command("list")
@click.pass_obj
def list_models(shelf: Shelf) -> None:
    """One line for each package, and how the workers serve it if there are settings."""
    told = _standing(shelf.site)
    headings = ("id", "version", "title", "stage", "precisions", "modalities")
    table = folding_table(*headings, *(() if told is None else ("on the workers",)))
    for package in shelf.registry.packages:
        manifest = package.manifest
        name = f"{manifest.id} {manifest.version}"
        add_row(
            table,
            manifest.id,
            manifest.version,
            manifest.title,
            manifest.stage,
            ", ".join(package.precisions),
            ", ".join(manifest.applies_to.modalities),
            *(() if told is None else (told.get(name, "not enabled"),)),
        )
    console().print(table)


@command.command("show")
@click.argument("model_id")
@click.pass_obj
def show(shelf: Shelf, model_id: str) -> None:
    """The model card: what it is for, its figures, its limits."""
    card = _package(shelf.registry, model_id).folder / "CARD.md"
    lines = card.read_text(encoding="utf-8").splitlines()
    shown = "\n".join(printable(line) for line in lines)
    console().print(Markdown(shown, hyperlinks=False))


@command.command("check")
@click.argument("model_id", required=False)
@click.pass_obj
def check(shelf: Shelf, model_id: str | None) -> None:
    """Run the reference cases of one package, or of all; exit 1 if one answers otherwise.

    A model that fails here is not served by any worker of this machine.
    """
    registry = shelf.registry
    chosen = [_package(registry, model_id)] if model_id else registry.packages
    failed = False
    for package in chosen:
        problems = check_package(package)
        failed = failed or bool(problems)
        name = f"{package.manifest.id} {package.manifest.version}"
        said = f"failed its self-test: {'; '.join(problems)}" if problems else "ok"
        click.echo(f"{name}: {said}")
    if failed:
        raise SystemExit(EXIT_BAD_ANSWER)


@command.command("clear")
@click.argument("model_id")
@click.pass_obj
def clear(shelf: Shelf, model_id: str) -> None:
    """Let a model that fell back to fp32 run in the chosen precision again.

    Its recent shadow runs are forgotten, so that the next 200 decide anew.
    """
    cleared = _needed(shelf.site).shadow_ledger(patient=False).clear(model_id)
    for name in cleared:
        click.echo(f"{name}: runs in the chosen precision again")
    if not cleared:
        click.echo(f"{model_id} had not fallen back")


@command.command("disable")
@click.argument("model_id")
@click.pass_obj
def disable(shelf: Shelf, model_id: str) -> None:
    """Switch a model off now: from the next hook on it is on no card, and no worker runs it.

    Nothing has to start again. What it has written to FHIR servers stays until the study is next
    asked for, which analyses it again without the model.
    """
    site, package = _needed(shelf.site), _package(shelf.registry, model_id)
    was_on = site.model_switches(patient=False).disable(package.manifest.id)
    click.echo(f"{model_id}: {'switched off' if was_on else 'was switched off already'}")


@command.command("enable")
@click.argument("model_id")
@click.pass_obj
def enable(shelf: Shelf, model_id: str) -> None:
    """Switch a model on again: studies are analysed with it when they are next asked for."""
    site = _needed(shelf.site)
    was_off = site.model_switches(patient=False).enable(model_id)
    if model_id in site.settings.models.disabled:
        click.echo(f"{model_id}: stays off, because the settings name it in models.disabled")
    else:
        click.echo(f"{model_id}: {'switched on' if was_off else 'was not switched off'}")


def _needed(site: Site | None) -> Site:
    if site is None:
        raise NotThere("the settings are needed: give --config, or set SCANHOOK_CONFIG")
    return site


def _site(config: Path | None) -> Site | None:
    """The site, or None where nothing is configured: packages can be looked at without."""
    try:
        return Site(settings.load(config))
    except UnsafeSettings:
        if config is not None:
            raise
        return None


def _standing(site: Site | None) -> dict[str, str] | None:
    """How the workers serve each model; None if that cannot be asked."""
    if site is None:
        return None
    try:
        return site.model_standing(web_connection(site.settings.redis_url))
    except QueueError as error:
        click.echo(f"how the workers serve the models is not known: {error.sentence}", err=True)
        return None


def _package(registry: Registry, model_id: str) -> ModelPackage:
    for package in registry.packages:
        if package.manifest.id == model_id:
            return package
    known = ", ".join(package.manifest.id for package in registry.packages)
    raise NotThere(f"there is no model {model_id!r}; there are: {known}")
