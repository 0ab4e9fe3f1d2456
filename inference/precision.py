"""Which of a package's graphs is run, and why; the reason is shown with the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inference.machine import CUDA, TENSORRT, Machine
from models.registry import ModelPackage

Wish = Literal["auto", "fp32", "int8"]
WISHES: tuple[Wish, ...] = ("auto", "fp32", "int8")

LITTLE_MEMORY_BYTES = 512 << 20
"""With less free than this, the graph that needs less memory is run if it may be."""

_GPU = frozenset({CUDA, TENSORRT})


@dataclass(frozen=True)
class Choice:
    """One graph to run, and a sentence that says why this one."""

    precision: str
    reason: str


def choose_precision(
    package: ModelPackage, machine: Machine, wish: str = "auto", forced: str | None = None
) -> Choice:
    """Choose among the graphs that may be run.

    fp32 may be run always, int8 only where the manifest says that every gate of the build held;
    a graph whose file is missing or wrong (`ModelPackage.faults`) never. `forced` is what the
    comparison of both precisions demands, `wish` what the site asks for ("auto": whatever suits
    the machine); neither makes a graph run that may not. Raises ValueError for another wish.
    """
    if wish not in WISHES:
        raise ValueError(f"A precision is one of {', '.join(WISHES)}.")
    allowed = _allowed(package)
    if forced in allowed:
        return Choice(forced, f"The two precisions differed too often here, so {forced} is run.")
    if wish != "auto" and wish in allowed:
        return Choice(wish, f"The configuration asks for {wish}.")
    choice = _suited(package, machine) if len(allowed) > 1 else _only(package, allowed)
    if wish in ("auto", choice.precision):
        return choice
    return Choice(choice.precision, f"{wish} was asked for. {choice.reason}")


def other_precision(package: ModelPackage, precision: str) -> str | None:
    """The graph that may be run where the one of `precision` fails; ``None`` if there is none."""
    return next((other for other in _allowed(package) if other != precision), None)


def _allowed(package: ModelPackage) -> tuple[str, ...]:
    return tuple(p for p in package.precisions if p == "fp32" or package.may_serve_int8)


def _only(package: ModelPackage, allowed: tuple[str, ...]) -> Choice:
    (precision,) = allowed
    faults = " ".join(package.faults.values())
    if faults:
        return Choice(precision, f"{faults} So {precision} is run.")
    if "int8" in package.precisions:
        return Choice(precision, "The int8 graph did not pass every gate of the build.")
    return Choice(precision, "The package holds only the fp32 graph, the one that was evaluated.")


def _suited(package: ModelPackage, machine: Machine) -> Choice:
    stated = package.manifest.precision
    free = machine.free_memory_bytes
    if _GPU & set(machine.providers):
        return Choice("fp32", "There is a GPU, and the int8 graph is made for processors.")
    if free is not None and free < LITTLE_MEMORY_BYTES:
        return Choice("int8", "Little memory is free; int8 needs less, and its gates held.")
    if stated.preferred == "fp32":
        return Choice("fp32", stated.reason)
    if not machine.int8_instructions:
        return Choice("fp32", "This processor has no 8-bit dot product, so int8 is no faster.")
    with_what = machine.int8_instructions[0]
    return Choice("int8", f"{stated.reason} This processor has {with_what}.")
