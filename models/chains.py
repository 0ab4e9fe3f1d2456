"""Do the chains of the installed models hold together?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models.errors import ManifestError
from models.manifest import Manifest


def check_chains(manifests: Sequence[Manifest]) -> None:
    """Every chained model follows one that is there and that can say what it waits for.

    Raises ManifestError, naming the model, when `after` is no model that is installed, when it
    knows none of the labels, when a witness is no negative of it, or when models follow each other
    in a circle.
    """
    by_id: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        by_id.setdefault(manifest.id, []).append(manifest)
    for manifest in manifests:
        for sentence in _wrong(manifest, by_id):
            raise ManifestError(sentence, ("chain",))


def _wrong(manifest: Manifest, by_id: Mapping[str, Sequence[Manifest]]) -> Iterable[str]:
    chain = manifest.chain
    if not chain:
        return
    if chain.after not in by_id:
        yield f"{manifest.id} runs after {chain.after!r}, which is not installed."
        return
    for first in by_id[chain.after]:
        roles = {label.key: label.role for label in first.labels}
        for key in chain.when:
            if key not in roles:
                yield f"{manifest.id} waits for {key!r}, which {first.id} never says."
        for key in chain.witnesses:
            if roles[key] != "negative":
                yield f"{manifest.id} is a witness of {key!r}, which is no negative of {first.id}."
    if _returns(manifest, by_id):
        yield f"{manifest.id} runs after models that run after it."


def _returns(manifest: Manifest, by_id: Mapping[str, Sequence[Manifest]]) -> bool:
    """Whether the models that come before lead back to this one."""
    seen: set[str] = set()
    pending = [manifest.id]
    while pending:
        chains = [one.chain for one in by_id.get(pending.pop(), ()) if one.chain]
        before = {chain.after for chain in chains}
        if manifest.id in before:
            return True
        pending += before - seen
        seen |= before
    return False
