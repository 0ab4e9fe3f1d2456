"""Which of a package's graphs is run, and why; the reason is shown with the result."""

from __future__ import annotations

from models.registry import ModelPackage


def choose_precision(package: ModelPackage) -> tuple[str, str]:
    """The precision to run ("fp32") and a sentence that says why.

    A faster graph would be taken only if the manifest stated that it passed the build's accuracy
    gates; no manifest of schema 1 can state that, so the graph that was evaluated is run.
    """
    if package.precisions == ("fp32",):
        return "fp32", "The package holds only the fp32 graph, the one that was evaluated."
    return "fp32", "The manifest does not state that another graph passed the accuracy gates."
