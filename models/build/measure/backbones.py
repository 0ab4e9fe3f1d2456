"""Networks trained alike on the same split, and what each is worth and costs.

Each candidate leaves a folder with its row; a row is not made again while recipe and data are the
same, and a training goes on at the epoch where it was stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.build.compress.calibration_set import calibration_set
from models.build.compress.graph import Graph
from models.build.compress.quantise import quantise
from models.build.compress.ranges import Activations
from models.build.export import export
from models.build.measure.answers import Report, Row, answers, markdown
from models.build.measure.cost import cost_of
from models.build.measure.eager import save_network
from models.build.measure.latency import Engine, engines_for, side_by_side
from models.build.measure.quality import quality_of
from models.build.networks import CLASSIFIERS, OUTLINERS, Network
from models.build.packs import Samples
from models.build.recipe import Cycle, Distillation, Recipe
from models.build.steps import digest_of, read, save
from models.build.training import train
from models.build.training.look import glance

Progress = Callable[[str], None]

EPOCHS = ((8, 4 / 7), (3, 6 / 7), (1, 1.0))
"""The budget of each candidate: how many epochs at which share of the full image size."""
WITH_WEIGHTS = ("efficientnet-lite0", "efficientnet-lite2", "unet-light")
TEACHERS = ("efficientnet-lite2", "unet")
"""Too large to be served; they are not taught."""
_FP32, _INT8, _EAGER, _ROW = "fp32.onnx", "int8.onnx", "network.pt", "row.json"
_STRIDE = 32


@dataclass(frozen=True)
class Candidate:
    """A network, from ImageNet weights or from random ones, maybe taught by a better one."""

    network: str
    pretrained: bool
    teacher: str | None = None

    @property
    def weights(self) -> str:
        """What it starts from."""
        return "ImageNet" if self.pretrained else "random"

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return f"{self.network}-{self.weights.lower()}" + (
            f"-by-{self.teacher}" * bool(self.teacher)
        )

    def recipe(self, recipe: Recipe, size: int) -> Recipe:
        """The common recipe within the budget, for this network."""
        frozen = recipe.network.frozen_blocks if self.pretrained else 0
        network = dataclasses.replace(
            recipe.network,
            name=self.network,
            pretrained=self.pretrained,
            frozen_blocks=frozen,
            encoder_of=None,
        )
        distillation = None if self.teacher is None else Distillation(self.teacher)
        train = dataclasses.replace(
            recipe.train, cycles=budget(recipe, size), distillation=distillation
        )
        return dataclasses.replace(recipe, network=network, train=train)


def budget(recipe: Recipe, size: int) -> tuple[Cycle, ...]:
    """What the recipe says, or its own cycles if they are fewer epochs, or one cycle of EPOCHS."""
    own = recipe.train.cycles
    if recipe.backbones.sizes:
        return (Cycle(own[0].learning_rate, recipe.backbones.sizes),)
    if sum(len(cycle.sizes) for cycle in own) <= sum(count for count, _ in EPOCHS):
        return own
    sizes = [
        max(1, round(share * size / _STRIDE)) * _STRIDE
        for count, share in EPOCHS
        for _ in range(count)
    ]
    return (Cycle(own[0].learning_rate, tuple(sizes)),)


def candidates(recipe: Recipe, names: Sequence[str] = ()) -> list[Candidate]:
    """The networks of the recipe's task; those with ImageNet weights with them and without."""
    known = CLASSIFIERS if recipe.task == "classification" else OUTLINERS
    found = []
    for name in (name for name in known if not names or name in names):
        pretrained = recipe.network.pretrained and name in WITH_WEIGHTS
        found.append(Candidate(name, pretrained))
        if pretrained and name not in TEACHERS:
            found.append(Candidate(name, pretrained=False))
    return found


def compare(
    samples: Mapping[str, Samples],
    recipe: Recipe,
    work: Path,
    progress: Progress,
    names: Sequence[str] = (),
    threads: int | None = None,
) -> Report:
    """Train and measure every candidate, then the small ones again, taught by the best.

    The best is the most accurate on `val` (for outlines, in Dice); what the rows say is of `test`.
    `names` limits the networks, `threads` the cores that train. Writes backbones.json and
    backbones.md to `work` and gives the former: `rows` (answers.Row), `answers`, `budget` and
    `quality`, the name of that figure.
    """
    if recipe.backbones.images:
        samples = {**samples, "train": glance(samples["train"], recipe.backbones.images)}
    course = _Course(samples, recipe, work / "backbones", progress, threads)
    plain = {one: course.row(one) for one in candidates(recipe, names)}
    best = max(plain, key=lambda one: plain[one].on_val)
    pupils = [
        dataclasses.replace(one, teacher=best.network)
        for one in plain
        if _is_taught(one, best, plain)
    ]
    taught = {one: course.row(one, best) for one in pupils}
    rows = course.timed(plain | taught)
    table = {
        "budget": _in_words(budget(recipe, course.size), len(samples["train"]), recipe),
        "quality": "accuracy" if recipe.task == "classification" else "Dice",
        "rows": [row.as_dict() for row in rows],
        "answers": answers(rows),
    }
    save(work / "backbones.json", table)
    (work / "backbones.md").write_text(markdown(table), encoding="utf-8")
    return table


def _is_taught(one: Candidate, best: Candidate, plain: Mapping[Candidate, Row]) -> bool:
    """Small ones, from the better start they have; nothing teaches itself."""
    better = dataclasses.replace(one, pretrained=True)
    has_better = not one.pretrained and better in plain
    return one.network not in (*TEACHERS, best.network) and not has_better


class _Course:
    """What all candidates share, and the way of each through it."""

    def __init__(
        self,
        samples: Mapping[str, Samples],
        recipe: Recipe,
        folder: Path,
        progress: Progress,
        threads: int | None,
    ) -> None:
        self.samples, self.recipe, self.folder, self.progress = samples, recipe, folder, progress
        self.threads = threads
        self.size = samples["test"].images.shape[1]

    def row(self, one: Candidate, best: Candidate | None = None) -> Row:
        """The candidate's row: made before, or now."""
        folder = self.folder / one.folder
        folder.mkdir(parents=True, exist_ok=True)
        path, digest = folder / _ROW, digest_of(self._data, one.recipe(self.recipe, self.size), one)
        if path.exists() and (saved := read(path)).get("digest") == digest:
            self.progress(f"{one.folder}: done before")
            return Row(**saved["row"])
        self.progress(f"{one.folder}: training")
        network = self._trained(one, best)
        self.progress(f"{one.folder}: measuring")
        row = self._measured(one, network, folder)
        save(path, {"digest": digest, "row": dataclasses.asdict(row)})
        return row

    def timed(self, rows: Mapping[Candidate, Row]) -> list[Row]:
        """The rows with the times of their networks: all of them in all engines, in one run.

        Weights do not change how long a graph takes, so that each network is timed once.
        """
        self.progress("timing every network in every engine, in turns")
        folders = {one.network: self.folder / one.folder for one in rows}
        engines = [engine for folder in folders.values() for engine in _engines(folder)]
        run = side_by_side(engines, self.size)
        times = {
            name: run.of_files_in(folder).as_dict("ONNX Runtime fp32")
            for name, folder in folders.items()
        }
        return [dataclasses.replace(row, latency=times[row.network]) for row in rows.values()]

    @cached_property
    def _data(self) -> str:
        """A digest of the images and what is known of them."""
        digest = hashlib.sha256(repr(self.recipe.data).encode())
        for samples in self.samples.values():
            digest.update(repr(samples.files).encode())
            for array in (samples.images, samples.labels, samples.masks):
                digest.update(array.tobytes())
        return digest.hexdigest()

    def _trained(self, one: Candidate, best: Candidate | None) -> Network:
        teacher = None if best is None else self._trained(best, None)
        recipe = one.recipe(self.recipe, self.size)

        def told(line: str) -> None:
            self.progress(f"{one.folder}: {line}")

        folder = self.folder / one.folder
        return train(self.samples, recipe, folder, told, teacher, threads=self.threads)

    def _measured(self, one: Candidate, network: Network, folder: Path) -> Row:
        fp32, int8 = folder / _FP32, folder / _INT8
        export(network, None, self.size, fp32)
        self._quantise(fp32, int8)
        save_network(network, folder / _EAGER)
        exact, rough = (quality_of(path, self.samples, self.recipe) for path in (fp32, int8))
        return Row(
            network=one.network,
            weights=one.weights,
            taught_by=one.teacher,
            on_val=exact.on_val,
            quality=exact.on_test,
            ece=exact.ece,
            quality_int8=rough.on_test,
            ece_int8=rough.ece,
            cost=cost_of(fp32).as_dict(),
            bytes_int8=int8.stat().st_size,
        )

    def _quantise(self, fp32: Path, int8: Path) -> None:
        """By the extremes, with the recipe's first convolutions in fp32: the same for all."""
        compress, graph = self.recipe.compress, Graph.read(fp32)
        some = calibration_set(self.samples["train"], compress.calibration_images, self.recipe.seed)
        ranges = Activations(graph, some.images).ranges("minmax")
        quantise(graph, ranges, compress.keep_fp32_convs, int8)


def _engines(folder: Path) -> list[Engine]:
    return engines_for(folder / _EAGER, folder / _FP32, folder / _INT8, served=folder / _INT8)


def _in_words(cycles: Sequence[Cycle], images: int, recipe: Recipe) -> str:
    sizes = [size for cycle in cycles for size in cycle.sizes]
    spread = ", ".join(f"{sizes.count(size)} at {size} px" for size in sorted(set(sizes)))
    return (
        f"{len(sizes)} epochs for each network ({spread}), batches of {recipe.train.batch}, the "
        f"same {images} images, changes, losses and seed; int8 by the extremes of the same "
        "calibration images. Only EfficientNet-Lite has ImageNet weights; all else starts from "
        "random ones. After so few epochs a figure says how soon a network learns, not how far."
    )
