"""The models in the worker's child: loaded once, and again when a precision must change."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

from cds_service.bootstrap.site import Site
from cds_service.queue.errors import QueueError
from cds_service.serving import Served
from cds_service.shadow import ModelName
from inference.pipeline import Analyser
from inference.precision import other_precision

log = logging.getLogger(__name__)

EXACT = "fp32"
"""What a model falls back to: the precision that was evaluated first, and is in every package."""


class ServingModels:
    """The analyser that studies are answered with; it follows the flags that are kept in Redis."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ledger = site.shadow_ledger(patient=True)
        self._forced = self._fallen() or {}
        self.analyser = self._load()

    def follow(self) -> bool:
        """Load the models again if one fell back, or was cleared, since; whether that was so."""
        forced = self._fallen()
        if forced is None or forced == self._forced:
            return False
        old, self._forced = self.analyser, forced
        self.analyser = self._load()
        old.close()
        return True

    def other(self, served: Mapping[str, str]) -> Analyser:
        """The models in the precision that does not serve, where there is one that may."""
        packages = {package.manifest.id: package for package in self._site.registry.packages}
        forced = {
            model_id: other_precision(packages[model_id], precision) or precision
            for model_id, precision in served.items()
        }
        return Analyser(self._site.registry, self._site.settings.limits, forced=forced)

    def _load(self) -> Analyser:
        settings = self._site.settings
        analyser = Analyser(
            self._site.registry,
            settings.limits,
            precision=settings.models.precision,
            forced=self._forced,
        )
        for one in analyser.served:
            said = {"model": one.model_id, "version": one.model_version}
            if one.precision is None:
                log.error("a model failed its self-test and is not served", extra=said)
        self._tell(analyser)
        return analyser

    def _tell(self, analyser: Analyser) -> None:
        """Say what serves, for whoever asks the web process; a Redis that is away hears later."""
        try:
            board = self._site.serving_board(patient=True)
            board.tell(socket.gethostname(), served_by(analyser))
        except QueueError as error:
            log.warning("what serves was not told", extra={"kind": error.kind})

    def _fallen(self) -> dict[str, str] | None:
        """The models that must run in fp32; None when Redis does not say."""
        try:
            fallen = self._ledger.fallen()
        except QueueError as error:
            log.warning("the flags of the models were not read", extra={"kind": error.kind})
            return None
        return {name.id: EXACT for name in self._site.model_names if name in fallen}


def served_by(analyser: Analyser) -> list[Served]:
    """In which precision each model of an analyser serves, and which does not."""
    return [
        Served(ModelName(one.model_id, one.model_version), one.precision or "", one.reason)
        for one in analyser.served
    ]


def in_both(site: Site) -> frozenset[str]:
    """The models that may run in either precision."""
    return frozenset(
        package.manifest.id
        for package in site.registry.packages
        if other_precision(package, EXACT) is not None
    )
