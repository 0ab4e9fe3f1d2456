"""``python -m benchmarks [NAME ...] [--quick] [--json FILE] [--markdown FILE]``"""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import machine
from benchmarks.results import Result, markdown, show

NAMES = {
    "hook_latency": "Hook latency under load",
    "hook_to_result": "Hook to result",
    "decode": "Decoding and preparing",
    "pages": "Explanation page",
    "evidence": "Evidence for archive and chart",
    "memory": "Memory",
    "demo": "Start of the demo",
}
OPENING = """# Benchmarks

Written by `python -m benchmarks --markdown docs/benchmarks.md`; `make bench` prints the same.
Every figure was measured in one run on the machine below, with all processes (generator, archive,
EHR, queue, web, worker) on its cores. Ratios are medians of paired rounds; they carry over to other
machines better than milliseconds do. A missed aim is shown as missed. Where the load is above the
number of processes that a benchmark keeps busy, somebody else was using the machine, and
milliseconds are higher than they need be.
"""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(NAMES)))
@click.option("--quick", is_flag=True, help="Small numbers, to see that it works.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the numbers here."
)
@click.option("--markdown", "markdown_file", type=click.Path(path_type=Path), help="Write a page.")
def main(
    names: tuple[str, ...], quick: bool, json_file: Path | None, markdown_file: Path | None
) -> None:
    """Measure the figures that the README states; all of them, or those named."""
    console = Console(width=None if Console().is_terminal else 120)
    facts = machine.description()
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False)
    found: dict[str, Result] = {}
    for name in names or NAMES:
        console.rule(NAMES[name])
        before = machine.load()
        result = importlib.import_module(f"benchmarks.{name}").run(quick)
        load = f"Load of the machine before: {before}; after: {machine.load()}."
        found[name] = replace(result, notes=(*result.notes, load))
        show(found[name], console)
    if json_file:
        json_file.write_text(json.dumps(_json(facts, found), indent=1) + "\n")
    if markdown_file:
        markdown_file.write_text(_page(facts, found))


def _json(facts: dict[str, str], found: dict[str, Result]) -> dict[str, Any]:
    return {"machine": facts, "found": {name: each.to_json() for name, each in found.items()}}


def _page(facts: dict[str, str], found: dict[str, Result]) -> str:
    parts = [OPENING, "\n".join(f"- {name}: {value}" for name, value in facts.items())]
    for name, result in found.items():
        method = importlib.import_module(f"benchmarks.{name}").__doc__ or ""
        parts.append(f"## {NAMES[name]}\n\n`python -m benchmarks {name}`\n\n{method.strip()}")
        parts.append(markdown(result))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
