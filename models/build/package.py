"""Write the model folder: graph, manifest, report, reference cases, card. Nothing by hand."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.build import phantom
from models.build.calibrate import Operating
from models.build.card import write_card
from models.build.data import SPEC
from models.build.evaluate import Report
from models.build.export import open_session, run
from models.build.network import LAYER
from models.manifest import MANIFEST_NAME, read_manifest
from models.preprocess import prepare
from models.reference import CASES

TEMPLATES = Path(__file__).parent / "templates"
_REFERENCE_TOLERANCE = 0.01
_PICTURES = {
    "head.png": ("a drawn head", 1.0, phantom.head(256, 256, lesion=False, seed=1)),
    "lesion.png": (
        "a drawn head with a bright disc",
        1.0,
        phantom.head(256, 256, lesion=True, seed=2),
    ),
    "tall.png": (
        "the head with rows twice as far apart as columns, and few of them",
        2.0,
        phantom.head(128, 230, lesion=True, seed=3),
    ),
    "noise.png": ("noise", 1.0, phantom.noise(160, 160, seed=4)),
    "step.png": ("a dark and a bright half", 1.0, phantom.step(200, 120)),
}


def write_package(
    out: Path,
    graph: Path,
    recipe: Path,
    operating: Operating,
    report: Report,
    ood: dict[str, str],
) -> None:
    """Fill the folder `out`; `ood` says `method` and `chosen`. The manifest comes last but one."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(graph, out / "fp32.onnx")
    if recipe.resolve() != (out / "recipe.toml").resolve():
        shutil.copyfile(recipe, out / "recipe.toml")
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _write_references(out)
    values = _measured(operating, report, ood) | {"files": _hashes(out)}
    template = Template((TEMPLATES / f"{report['model']}.toml").read_text(encoding="utf-8"))
    (out / MANIFEST_NAME).write_text(template.substitute(values), encoding="utf-8")
    (out / "CARD.md").write_text(write_card(read_manifest(out), report), encoding="utf-8")


def _hashes(folder: Path) -> str:
    names = ("fp32.onnx", "report.json")
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    return "\n".join(f'"{name}" = "{digest}"' for name, digest in digests.items())


def _measured(operating: Operating, report: Report, ood: dict[str, str]) -> dict[str, Any]:
    thresholds = {
        f"threshold_{key.replace('-', '_')}": value for key, value in operating.thresholds.items()
    }
    return thresholds | {
        "temperature": round(operating.temperature, 4),
        "ece": report["test"]["ece"],
        "ood_method": ood["method"],
        "ood_chosen": ood["chosen"],
        "ood_threshold": float(f"{operating.ood_threshold:.6g}"),
        "layer": LAYER,
        "input_name": SPEC.name,
        "rows": SPEC.rows,
        "columns": SPEC.columns,
        "low_percentile": SPEC.low_percentile,
        "high_percentile": SPEC.high_percentile,
    }


def _write_references(out: Path) -> None:
    """Draw the reference pictures and write down what the graph says of them."""
    folder = (out / CASES).parent
    folder.mkdir(exist_ok=True)
    session = open_session(out / "fp32.onnx")
    cases = []
    for name, (shows, aspect, picture) in _PICTURES.items():
        (folder / name).write_bytes(_png(picture))
        outputs = run(session, prepare(picture, SPEC, aspect))
        cases.append(
            {
                "image": name,
                "shows": shows,
                "pixel_aspect": aspect,
                "logits": [round(float(value), 5) for value in outputs["logits"][0]],
                "ood_score": round(float(outputs["ood_score"][0]), 6),
            }
        )
    table = {"tolerance": _REFERENCE_TOLERANCE, "cases": cases}
    (out / CASES).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _png(picture: npt.NDArray[np.uint16]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", optimize=True)
    return stream.getvalue()
