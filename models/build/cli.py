"""The command that turns a folder of images into a model package."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from models.errors import ModelError
from models.registry import BUNDLED

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FOLDER_TO_READ = click.Path(exists=True, file_okay=False, path_type=Path)
_STEPS = ("data", "train", "export", "compress", "backbones", "evaluate", "package")
_TEMPLATE, _RECIPE = "template.toml", "recipe.toml"
_MISSING = 3  # something needed is not there
_ABSENT = ("build.data", "build.recipe", "build.place")
_BAD = 1  # the work was done and the answer is bad


@click.command()
@click.argument("model")
@click.option("--data", required=True, type=_FOLDER_TO_READ, help="Folder of the packs of images.")
@click.option("--work", required=True, type=_FOLDER, help="Folder for what each step makes; kept.")
@click.option("--out", type=_FOLDER, help="Where the package goes.")
@click.option("--quick", is_flag=True, help="A smoke run; the result is of no use.")
@click.option("--step", type=click.Choice(_STEPS), help="Stop after this step.")
@click.option("--again", is_flag=True, help="Repeat the last step though nothing has changed.")
def build(
    model: str,
    data: Path,
    work: Path,
    out: Path | None,
    step: str | None,
    *,
    quick: bool,
    again: bool,
) -> None:
    """Build MODEL: train, compress, calibrate, measure, gate, package.

    MODEL is the id of a model of this project, or a folder with a recipe.toml and a template.toml.
    A stopped build goes on where it was; a step of which nothing has changed is not repeated.
    """
    recipe, template, place = _found(model)
    if quick and out is None:
        raise click.UsageError("--quick needs --out: its result must not replace a real model.")
    try:
        from models.build.pipeline import Order
        from models.build.pipeline import build as run
    except ImportError as error:
        _end(f'{error.name} is missing; pip install "scanhook[build]" has what a build needs.', 3)
    order = Order(recipe, template, data, work, out or place, step or "package", quick, again)  # type: ignore[arg-type]  # click has checked the step
    try:
        run(order, click.echo)
    except ModelError as error:
        kind = getattr(error, "kind", "")
        _end(error.sentence, _MISSING if kind in _ABSENT else _BAD)
    except OSError as error:
        _end(f"{Path(str(error.filename)).name}: {error.strerror}.", _MISSING)


def _found(model: str) -> tuple[Path, Path, Path]:
    """Recipe, template and the package's place, of a bundled model or of a user's folder."""
    folder = Path(model)
    if (folder / _RECIPE).is_file() and (folder / _TEMPLATE).is_file():
        return folder / _RECIPE, folder / _TEMPLATE, folder / "package"
    template = Path(__file__).parent / "templates" / f"{folder.name}.toml"
    recipe = BUNDLED / folder.name / _RECIPE
    if folder.name == model and template.is_file() and recipe.is_file():
        return recipe, template, BUNDLED / model
    known = ", ".join(sorted(path.stem for path in template.parent.glob("*.toml")))
    problem = f"neither a model ({known}) nor a folder with {_RECIPE} and {_TEMPLATE}"
    return _end(f"{model}: {problem}.", _MISSING)


def _end(sentence: str, code: int) -> NoReturn:
    """One sentence on the standard error, and the exit code of docs/cli.md."""
    click.echo(sentence, err=True)
    raise SystemExit(code)
