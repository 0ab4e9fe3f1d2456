"""Steps that leave a product and are not repeated while what they were made of is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from models.build.errors import BuildError, at

Step = Literal["data", "train", "export", "compress", "backbones", "evaluate", "package"]
STEPS: tuple[Step, ...] = get_args(Step)
Progress = Callable[[str], None]
Table = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """What was done in the folder `work`, step by step, and of what: `steps.json`."""

    work: Path

    def is_done(self, step: Step, digest: str, files: Sequence[str] = ()) -> bool:
        """Whether the step was finished for this digest and its files are still as it left them."""
        entry = self._read().get(step)
        if not isinstance(entry, dict) or entry.get("digest") != digest:
            return False
        stated = entry.get("files", {})
        return set(stated) >= set(files) and all(
            (self.work / name).is_file() and sha256(self.work / name) == known
            for name, known in stated.items()
        )

    def note(self, step: Step, digest: str, files: Sequence[str] = ()) -> None:
        """Write down that the step is finished; forget the later ones where it left other files."""
        table = self._read()
        made = {"digest": digest, "files": {name: sha256(self.work / name) for name in files}}
        if table.get(step) != made:
            later = STEPS[STEPS.index(step) + 1 :]
            table = {name: entry for name, entry in table.items() if name not in later}
        save(self.work / "steps.json", table | {step: made})

    def _read(self) -> Table:
        path = self.work / "steps.json"
        if not path.exists():
            return {}
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            problem = "cannot be read; remove it to begin again."
            raise BuildError(at(f"{self.work.name}/steps.json", None, problem)) from error
        return table if isinstance(table, dict) else {}


def digest_of(*parts: object) -> str:
    """SHA-256 over the representations of what a step is made of (frozen dataclasses, digests)."""
    return hashlib.sha256("\x00".join(map(repr, parts)).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save(path: Path, table: Table) -> None:
    """Write JSON so that a kill leaves the old file or the new one."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def read(path: Path) -> Table:
    """What `save` wrote. Raises BuildError when it cannot be read."""
    try:
        table: Table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildError(at(path.name, None, "cannot be read; repeat the step before.")) from error
    return table
