"""What decides a model besides its data: `recipe.toml`, section by section."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models import schema
from models.build.errors import RecipeError
from models.errors import ManifestError
from models.lines import KeyPath

_STRIDE = 32  # pixels: the networks halve an image five times

Task = Literal["classification", "segmentation"]


@dataclass(frozen=True)
class Empties:
    """Where images without the structure come from: the rows of `pack` labelled `label`.

    They take part in every split as images whose outline is known to be empty.
    """

    pack: str
    label: str
    image: str = "{file}"
    group: str = "group"


@dataclass(frozen=True)
class DataRecipe:
    """Which images, under which labels: `pack`.csv beside `pack`.tar or an unpacked folder.

    `labels` are values of the csv's column `label_column`, and `keys` what the package calls them,
    in the order of the network's outputs. For segmentation `keys` has the one structure and
    `labels` are the strata it is reported by. `image` and `outline` are paths inside the pack,
    with the row's columns in braces; outlines come from the pack `outlines`, and a row that
    leaves a column of `outline` empty has none. Rows whose column `mirrored` is 1 show the
    outline's mirror image. `group` is the column of what is not independent (a patient, a cluster
    of copies); where `number` names a column that counts the slices as they were taken, those that
    follow one another with one label in one group are drawn together instead. `external` is a split
    that is neither trained on nor reported as the test: images from elsewhere. Near-copies of one
    picture in `train` and `test` stop the build beyond `tolerated_copies`, unless `copies` leaves
    them out. Images of the splits `unverified` need not be the files that the column `sha256`
    states.
    """

    pack: str
    labels: tuple[str, ...]
    keys: tuple[str, ...]
    negative: str | None = None
    outlines: str | None = None
    external: str | None = None
    label_column: str = "label"
    image: str = "{file}"
    outline: str = "masks/{file}"
    group: str = "group"
    number: str | None = None
    empties: Empties | None = None
    copies: Literal["refuse", "leave out"] = "refuse"
    tolerated_copies: int = 0
    tolerated_because: str = ""
    # what is read is the same: a step that was done is not repeated because of these
    unverified: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    unverified_because: str = dataclasses.field(default="", repr=False)

    @property
    def strata(self) -> tuple[str, ...]:
        """What a segmentation's labels are called: with their column where that is another one."""
        if self.label_column == "label":
            return self.labels
        return tuple(f"{self.label_column} {label}" for label in self.labels)


@dataclass(frozen=True)
class NetworkRecipe:
    """The network by name; `outline` gives a classifier an outline decoder while it is trained.

    The first `frozen_blocks` blocks keep their ImageNet weights. `encoder_of` names a model that
    was built before, in the folder beside this one's: its encoder is the start, in place of
    ImageNet's.
    """

    name: str
    outline: bool = False
    pretrained: bool = True
    dropout: float = 0.2
    frozen_blocks: int = 0
    encoder_of: str | None = None


@dataclass(frozen=True)
class Cycle:
    """A rise and fall of the learning rate; `sizes` has each epoch's image size (pixels a side)."""

    learning_rate: float
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Distillation:
    """A larger network, trained first by the same recipe, whose answers the network imitates.

    `weight` is the share of the class loss that is imitation, at `temperature`.
    """

    network: str
    weight: float = 0.5
    temperature: float = 2.0
    cycles: tuple[Cycle, ...] = ()


@dataclass(frozen=True)
class TrainRecipe:
    """How the weights are found.

    `decoder_rate` multiplies the learning rate of what has no ImageNet weights. `average_decay`
    makes the exported weights a running mean. `class_shares` are the shares of an epoch's samples,
    by label (equal where empty; for segmentation by label, then the images without the structure).
    `strong` is the share of images with strong changes of style, the others get light ones.
    `transplant` is the share of negative samples that receive a lesion, `heal` the share of lesions
    replaced by tissue from beside them.
    """

    augmentation: Literal["head-mr", "chest-xray"]
    cycles: tuple[Cycle, ...]
    batch: int = 32
    weight_decay: float = 2e-2
    label_smoothing: float = 0.05
    average_decay: float = 0.995
    decoder_rate: float = 2.0
    gradient_limit: float = 5.0
    outline_weight: float = 0.5
    class_shares: tuple[float, ...] = ()
    strong: float = 0.5
    transplant: float = 0.0
    heal: float = 0.0
    distillation: Distillation | None = None


@dataclass(frozen=True)
class CompressRecipe:
    """How the graph is made small and fast; 0 leaves a step out.

    `prune` is the share of the channels of each expansion that goes, `low_rank` the share of a
    layer's energy that its factors keep. The first `keep_fp32_convs` convolutions stay fp32.
    `calibration_images` are drawn from `train`, by class and difficulty. Training with quantisation
    takes `qat_epochs`, where nothing else passes the gates or, if `qat` says so, always: then the
    report has both ways side by side.
    """

    prune: float = 0.0
    low_rank: float = 0.0
    keep_fp32_convs: int = 0
    calibration_images: int = 160
    methods: tuple[Literal["minmax", "entropy", "percentile"], ...] = (
        "minmax",
        "entropy",
        "percentile",
    )
    qat: Literal["if needed", "always"] = "if needed"
    qat_epochs: int = 0
    qat_learning_rate: float = 1e-5


@dataclass(frozen=True)
class CalibrateRecipe:
    """How the answers are made to mean what they say.

    Of the validation images, `coverage` get an answer, `negative_answered` of the negative ones
    still get the negative, and `ood_percentile` percent are in distribution. `sensitivity`, where
    given, is what the findings reach on `val` first of all. The prediction set holds the true
    label for `prediction_set_coverage` of the images. `bootstrap` resamples make an interval.
    `pca` directions and `neighbours` shape the scores named in `ood`.
    """

    ood: tuple[Literal["energy", "mahalanobis", "nearest"], ...] = (
        "energy",
        "mahalanobis",
        "nearest",
    )
    coverage: float = 0.9
    negative_answered: float = 0.9
    sensitivity: float | None = None
    ood_percentile: float = 98.0
    prediction_set_coverage: float = 0.95
    bootstrap: int = 1000
    pca: int = 256
    neighbours: int = 10


@dataclass(frozen=True)
class BackbonesRecipe:
    """How long networks are trained that are only compared, where a full budget takes too long.

    `sizes` has each epoch's image size (pixels a side), `images` is how many training samples are
    used, taken evenly from all of them (0: all).
    """

    sizes: tuple[int, ...] = ()
    images: int = 0


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a build besides the data."""

    task: Task
    seed: int
    data: DataRecipe
    network: NetworkRecipe
    train: TrainRecipe
    compress: CompressRecipe = CompressRecipe()
    calibrate: CalibrateRecipe = CalibrateRecipe()
    backbones: BackbonesRecipe = BackbonesRecipe()


def read_recipe(path: Path) -> Recipe:
    """Parse a recipe, strictly.

    Raises RecipeError, one sentence with the file and the line, when it is not TOML, when a key is
    unknown, missing or of another type, or when its value cannot be.
    """
    file = f"{path.parent.name}/{path.name}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file} cannot be read.") from error
    try:
        recipe = schema.read_toml(Recipe, text, file)
    except ManifestError as error:
        raise RecipeError(error.sentence) from error
    for key, what in _problems(recipe):
        wrong = schema.located(schema.wrong(key, what), text, file)
        raise RecipeError(wrong.sentence)
    return recipe


def quick(recipe: Recipe) -> Recipe:
    """The same recipe cut down to a smoke run: what it makes is of no use but to tests."""
    cycles = (Cycle(1e-3, (64,)),)
    distillation = recipe.train.distillation
    if distillation is not None:
        distillation = dataclasses.replace(distillation, cycles=())
    train = dataclasses.replace(recipe.train, cycles=cycles, batch=8, distillation=distillation)
    network = dataclasses.replace(recipe.network, encoder_of=None)
    compress = dataclasses.replace(recipe.compress, calibration_images=8, qat_epochs=0)
    calibrate = dataclasses.replace(recipe.calibrate, neighbours=3, pca=8, bootstrap=20)
    return dataclasses.replace(
        recipe, network=network, train=train, compress=compress, calibrate=calibrate
    )


def teacher_recipe(recipe: Recipe) -> Recipe | None:
    """The recipe of the network to be imitated, or None where there is nothing to imitate."""
    wanted = recipe.train.distillation
    if wanted is None:
        return None
    network = dataclasses.replace(recipe.network, name=wanted.network)
    cycles = wanted.cycles or recipe.train.cycles
    train = dataclasses.replace(recipe.train, cycles=cycles, distillation=None)
    return dataclasses.replace(recipe, network=network, train=train)


def _problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    """(key, what is wrong with it): what types alone do not say."""
    yield from _data_problems(recipe)
    yield from _backbones_problems(recipe.backbones)
    yield from _calibrate_problems(recipe)
    train = recipe.train
    if train.batch < 2:
        yield ("train", "batch"), "is below 2, which batch norms cannot learn from."
    if not train.cycles:
        yield ("train", "cycles"), "is empty."
    for index, cycle in enumerate(train.cycles):
        if not cycle.sizes or any(size < 1 or size % _STRIDE for size in cycle.sizes):
            problem = f"needs at least one epoch, each a multiple of {_STRIDE} pixels."
            yield ("train", "cycles", index, "sizes"), problem
    for key, value in _shares(recipe):
        if not 0 <= value <= 1:
            yield key, "is not from 0 to 1."
    strata = len(recipe.data.labels) + (recipe.data.empties is not None)
    if train.class_shares and len(train.class_shares) != strata:
        yield ("train", "class_shares"), f"has not {strata} shares."


def _data_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    data, classifies = recipe.data, recipe.task == "classification"
    if not data.labels or len(set(data.labels)) != len(data.labels):
        yield ("data", "labels"), "is empty or repeats a label."
    if len(data.keys) != (len(data.labels) if classifies else 1):
        yield ("data", "keys"), "is not one name for each label (segmentation: the structure's)."
    if data.negative is None and classifies:
        yield (
            ("data", "negative"),
            "is missing: one label of a classifier says that nothing is there.",
        )
    if data.negative is not None and data.negative not in data.keys:
        yield ("data", "negative"), "is not one of the keys."
    if data.outlines is None and (recipe.network.outline or not classifies):
        yield ("data", "outlines"), "is missing, and the network learns outlines."
    if data.empties is not None and classifies:
        yield ("data", "empties"), "is for segmentation: a classifier has its negative label."
    if data.tolerated_copies and not data.tolerated_because:
        yield ("data", "tolerated_copies"), "needs its reason in 'tolerated_because'."
    if data.unverified and not data.unverified_because:
        yield ("data", "unverified"), "needs its reason in 'unverified_because'."


def _calibrate_problems(recipe: Recipe) -> Iterator[tuple[KeyPath, str]]:
    calibrate, outlines = recipe.calibrate, recipe.task == "segmentation"
    if not set(calibrate.ood) - ({"energy"} if outlines else set()):
        yield ("calibrate", "ood"), "names no score (of an outline energy is none)."
    for name, count in (("pca", calibrate.pca), ("neighbours", calibrate.neighbours)):
        if count < 1:
            yield ("calibrate", name), "is not a positive number."


def _backbones_problems(backbones: BackbonesRecipe) -> Iterator[tuple[KeyPath, str]]:
    if any(size < 1 or size % _STRIDE for size in backbones.sizes):
        yield ("backbones", "sizes"), f"has an epoch that is no multiple of {_STRIDE} pixels."
    if backbones.images < 0:
        yield ("backbones", "images"), "is a negative number."


def _shares(recipe: Recipe) -> Iterator[tuple[KeyPath, float]]:
    train, calibrate = recipe.train, recipe.calibrate
    for name in ("strong", "transplant", "heal", "label_smoothing", "average_decay"):
        yield ("train", name), getattr(train, name)
    for name in ("coverage", "negative_answered", "prediction_set_coverage"):
        yield ("calibrate", name), getattr(calibrate, name)
    for index, share in enumerate(train.class_shares):
        yield ("train", "class_shares", index), share
    yield ("network", "dropout"), recipe.network.dropout
