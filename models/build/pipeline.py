"""From a folder of labelled images to a model package, step by step.

    data -> train -> export -> compress -> evaluate -> package        (backbones: when asked for)

Each step leaves its product in the work folder, with a digest of what it was made of; a step whose
digest has not changed is not repeated.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.build import template
from models.build.choosing import choose_score, distance
from models.build.compress.choose import compress
from models.build.contact_sheet import write_contact_sheets
from models.build.duplicates import Pair, Parted, part
from models.build.errors import DataError, GateError, NetworkError, PlaceError, at
from models.build.export import export, open_session
from models.build.gates import graph_gate, must_hold
from models.build.measure.backbones import compare
from models.build.measure.eager import save_network
from models.build.measuring import Material, measure
from models.build.networks import OUTLINERS, Network
from models.build.package import Parts, write_package
from models.build.packs import Samples, load
from models.build.recipe import Recipe, quick, read_recipe, teacher_recipe
from models.build.speed import report_speed
from models.build.steps import STEPS, Ledger, Progress, Step, digest_of, read, save, sha256
from models.build.training import train
from models.build.witness import Witness, ask, find_witness
from models.manifest import FP32, HEAD, INT8

REPORT = "report.json"
_EAGER, _BACKBONES = "network.pt", "backbones.json"
_COMPARED = 16


@dataclass(frozen=True)
class Order:
    """What to build, from what, where to.

    `template` is the manifest with placeholders. `until` is the last step wanted; "backbones" is
    made only when it is named. `again` repeats that last step though nothing has changed. `smoke`
    cuts the recipe down to one epoch, of no use.
    """

    recipe: Path
    template: Path
    data: Path
    work: Path
    out: Path
    until: Step = "package"
    smoke: bool = False
    again: bool = False


def build(order: Order, progress: Progress) -> None:
    """Run what is not done yet, up to the step that was asked for.

    May be stopped and repeated; training goes on at the epoch where it was. Raises BuildError or
    another ModelError, each one sentence; a package is written whole or not at all.
    """
    _make(order.work)
    work = _Build(order, progress)
    for step in STEPS[: STEPS.index(order.until) + 1]:
        if step != "backbones" or order.until == "backbones":
            work.do(step)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"the folder cannot be made: {error.strerror or type(error).__name__}."
        raise PlaceError(at(folder.name, None, problem)) from error


class _Build:
    """One build; what is costly to make is made when a step first needs it."""

    def __init__(self, order: Order, progress: Progress) -> None:
        self.order, self.progress = order, progress
        recipe = read_recipe(order.recipe)
        self.recipe: Recipe = quick(recipe) if order.smoke else recipe
        self.frame = template.read_frame(order.template, recipe)
        self.ledger = Ledger(order.work)

    def do(self, step: Step) -> None:
        """Do the step, unless it was done of the same things."""
        digest = self.digest(step)
        wanted = step == "package" or (self.order.again and step == self.order.until)
        if not wanted and self.ledger.is_done(step, digest):
            self.progress(f"{step}: done before")
            return
        makers: dict[Step, Callable[[], tuple[str, ...]]] = {
            "data": self._data,
            "train": self._train,
            "export": self._export,
            "compress": self._compress,
            "backbones": self._backbones,
            "evaluate": self._evaluate,
            "package": self._package,
        }
        self.progress(f"{step} ...")
        self.ledger.note(step, digest, makers[step]())

    def digest(self, step: Step) -> str:
        """Of everything the step's product depends on."""
        recipe = self.recipe
        data = digest_of(self._packs, recipe.data, self.frame.spec)
        start = sha256(self._encoder) if self._encoder else ""
        trained = digest_of(data, recipe.task, recipe.seed, recipe.network, recipe.train, start)
        exported = digest_of(trained, recipe.calibrate, "export")
        squeezed = digest_of(exported, recipe.compress)
        return {
            "data": data,
            "train": trained,
            "export": exported,
            "compress": squeezed,
            "backbones": digest_of(data, recipe.seed, recipe.train, "backbones"),
            "evaluate": digest_of(squeezed, self.frame, self._witness_digest, self._extra),
            "package": digest_of(squeezed, sha256(self.order.template)),
        }[step]

    @cached_property
    def parted(self) -> Parted:
        """The images of every split, in memory, and the near-copies among them."""
        self.progress("reading the images")
        splits = load(self.order.data, self.recipe.data, self.frame.spec)
        return part(splits, self.recipe.data)

    @property
    def samples(self) -> dict[str, Samples]:
        """The splits to build from."""
        return self.parted.splits

    @cached_property
    def network(self) -> Network:
        """The trained network: from its checkpoint, or trained now."""
        teacher = None
        wanted = teacher_recipe(self.recipe)
        if wanted is not None:
            folder = self.order.work / "teacher"
            folder.mkdir(exist_ok=True)
            teacher = train(self.samples, wanted, folder, self.progress)
        return train(
            self.samples,
            self.recipe,
            self.order.work,
            self.progress,
            teacher,
            encoder=self._encoder,
        )

    @property
    def _encoder(self) -> Path | None:
        """The trained network whose encoder this one starts with, where the recipe names one."""
        built_before = self.recipe.network.encoder_of
        if built_before is None:
            return None
        path = self.order.work.parent / built_before / _EAGER
        if not path.is_file():
            problem = f"the recipe starts from {built_before}, which has to be built first, in a"
            raise DataError(f"{path.parent.name}/{path.name} is missing: {problem} folder there.")
        return path

    @cached_property
    def _packs(self) -> tuple[tuple[str, str], ...]:
        """(name, digest) of every manifest, tar and unpacked folder that the recipe names."""
        data = self.recipe.data
        names = [data.pack, data.outlines, data.empties.pack if data.empties else None]
        folder, found = self.order.data, []
        for name in sorted({name for name in names if name}):
            for path in (folder / f"{name}.csv", folder / f"{name}.tar"):
                if path.is_file():
                    found.append((path.name, sha256(path)))
            if (folder / name).is_dir():
                inside = sorted((folder / name).rglob("*"))
                facts = [(str(p.relative_to(folder)), p.stat().st_size) for p in inside]
                found.append((name, digest_of(facts)))
        return tuple(found)

    @cached_property
    def _witness(self) -> Path | None:
        package = find_witness(self.frame.id, self.order.out.parent)
        return package.folder if package else None

    @property
    def _witness_digest(self) -> str:
        return sha256(self._witness / "model.toml") if self._witness else ""

    @property
    def _extra(self) -> tuple[str, ...]:
        """The comparison of networks, which the report includes where it was made."""
        path = self.order.work / _BACKBONES
        return (sha256(path),) if path.is_file() else ()

    def _data(self) -> tuple[str, ...]:
        counts = {name: len(samples) for name, samples in self.samples.items()}
        self.progress(", ".join(f"{name} {count}" for name, count in counts.items()))
        table = {
            "images": counts,
            "packs": dict(self._packs),
            "near_copies": _by_splits(self.parted.pairs),
            "near_copied": _of_training(self.parted.pairs),
            "left_out": self.parted.left_out,
        }
        save(self.order.work / "data.json", table)
        sheets = write_contact_sheets(self.samples, self.recipe, self.order.work)
        return ("data.json", *(path.name for path in sheets))

    def _train(self) -> tuple[str, ...]:
        name, task = self.recipe.network.name, self.recipe.task
        if (name in OUTLINERS) is not (task == "segmentation"):
            raise NetworkError(f"The network {name!r} is not made for a {task}.")
        save_network(self.network, self.order.work / _EAGER)
        return (_EAGER,)

    def _export(self) -> tuple[str, ...]:
        chosen = choose_score(self.network, self.samples, self.frame.spec, self.recipe)
        self.progress(f"out-of-distribution score: {chosen.score.method}")
        path = self.order.work / FP32
        try:
            written = export(self.network, chosen.score, self.frame.spec.rows, path)
        except ValueError as error:
            raise GateError(f"{FP32}: {error}.") from error
        gate = graph_gate(distance(self.network, path, self.samples["val"].images[:_COMPARED]))
        must_hold([gate])
        measured = {
            "layer": self.network.layer,
            "explains": self.network.explains,
            "outputs": [output.name for output in open_session(path).get_outputs()],
            "ood_threshold": chosen.limit,
            "ood_chosen": chosen.why,
        }
        table = {
            "measured": measured,
            "score": chosen.score.method,
            "score_comparison": chosen.compared,
            "files": [one.name for one in written],
            "graph_gate": dataclasses.asdict(gate),
        }
        save(self.order.work / "export.json", table)
        return ("export.json", *table["files"])

    def _compress(self) -> tuple[str, ...]:
        work = self.order.work
        made = compress(work / FP32, self.samples, self.recipe, work, self.progress)
        table = {
            "choice": made.choice,
            "step": made.step,
            "reason": made.reason,
            "rows": [row.as_dict() for row in made.rows],
            "gates_on_val": [dataclasses.asdict(gate) for gate in made.gates],
            "calibration_images": made.calibration,
        }
        save(work / "compress.json", table)
        return ("compress.json", INT8)

    def _backbones(self) -> tuple[str, ...]:
        compare(self.samples, self.recipe, self.order.work, self.progress)
        return (_BACKBONES,)

    def _evaluate(self) -> tuple[str, ...]:
        work, exported = self.order.work, read(self.order.work / "export.json")
        material = Material(
            self.frame,
            self.recipe,
            self.samples,
            work / FP32,
            work / HEAD if HEAD in exported["files"] else None,
            work / INT8,
            exported,
            read(work / "compress.json"),
            self._asked(),
            self.order.smoke,
        )
        report = measure(material, self.progress)
        self.progress("timing the engines")
        report |= report_speed(
            work / _EAGER,
            work / FP32,
            work / INT8,
            report["precision"]["preferred"],
            self.frame.spec.rows,
            smoke=self.order.smoke,
        )
        report |= {"data": read(work / "data.json"), "graph_gate": exported["graph_gate"]}
        if (work / _BACKBONES).is_file():
            report["backbones"] = read(work / _BACKBONES)
        save(work / REPORT, report)
        return (REPORT,)

    def _asked(self) -> Witness | None:
        if self._witness is None or self.recipe.task != "classification":
            return None
        package = find_witness(self.frame.id, self.order.out.parent)
        if package is None:
            return None
        self.progress(f"asking the second witness, {package.manifest.id}")
        return ask(package, self.order.data, self.recipe.data, self.samples)

    def _package(self) -> tuple[str, ...]:
        work = self.order.work
        report, exported = read(work / REPORT), read(work / "export.json")
        graphs = {name: work / name for name in (*exported["files"], INT8)}
        if not report["precision"]["int8"]["gates_held"]:
            del graphs[INT8]  # it may not be served, so it is of no use to anybody
        parts = Parts(graphs, self.order.recipe, self.order.template, report)
        manifest = write_package(self.order.out, parts)
        self.progress(f"{manifest.id} {manifest.version} is in {self.order.out.name}")
        return ()


def _of_training(pairs: tuple[Pair, ...]) -> dict[str, int]:
    """How many images of each other split have a near-copy in `train`, though it be left out."""
    copied = {pair.files[1]: pair.splits[1] for pair in pairs if pair.splits[0] == "train"}
    return dict(Counter(copied.values()))


def _by_splits(pairs: tuple[Pair, ...]) -> dict[str, int]:
    """How many near-copies two splits share, by both names."""
    return dict(Counter(" and ".join(pair.splits) for pair in pairs))
