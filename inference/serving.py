"""Which of the installed models may answer here, in which precision, and why."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

from inference.analysis import ModelUse
from inference.errors import InferenceError
from inference.loading import load_runtime
from inference.machine import Machine
from inference.runtime import Runtime
from models.contract import Reason
from models.errors import ModelError
from models.registry import ModelPackage, Registry

NOT_SERVED = "not-served"


@dataclass(frozen=True)
class Served:
    """How one installed model is served; `precision` is ``None`` when it is not.

    `reason` is a sentence for a person: why this precision, or why the model is refused.
    `provider` is ONNX Runtime's name of what it is run on, empty when it is refused.
    """

    model_id: str
    model_version: str
    precision: str | None
    reason: str
    provider: str = ""


@dataclass(frozen=True)
class Service:
    """The models that are loaded, by id and version, and how every installed one is served."""

    runtimes: Mapping[tuple[str, str], Runtime]
    served: tuple[Served, ...]
    registry: Registry

    @property
    def refused(self) -> tuple[ModelUse, ...]:
        """The models that may not answer, as they stand in an analysis."""
        return tuple(
            ModelUse(one.model_id, one.model_version, (Reason(NOT_SERVED, one.reason),))
            for one in self.served
            if one.precision is None
        )


def load_service(
    registry: Registry,
    machine: Machine,
    wish: str,
    forced: Mapping[str, str],
    pool: Executor,
) -> Service:
    """Load every model and have it answer its reference cases; one that fails stops no other.

    `wish` and `forced` (by model id) are as in `inference.precision.choose_precision`. What cannot
    be loaded, or answers wrongly in each precision that may be served, is refused and told: a model
    that is ill must neither speak nor keep the others from speaking. Raises ValueError for a wish
    that is none.
    """

    def load(package: ModelPackage) -> Runtime | Served:
        try:
            return load_runtime(package, machine, wish, forced.get(package.manifest.id))
        except (InferenceError, ModelError) as error:
            return Served(*name_of(package), None, error.sentence)

    loaded = dict(
        zip(map(name_of, registry.packages), pool.map(load, registry.packages), strict=True)
    )
    runtimes = {name: one for name, one in loaded.items() if isinstance(one, Runtime)}
    served = tuple(one if isinstance(one, Served) else _served(one) for one in loaded.values())
    healthy = (package for package in registry.packages if name_of(package) in runtimes)
    return Service(runtimes, served, Registry(tuple(healthy)))


def name_of(package: ModelPackage) -> tuple[str, str]:
    """Id and version: what names a package."""
    return package.manifest.id, package.manifest.version


def _served(runtime: Runtime) -> Served:
    name = name_of(runtime.package)
    return Served(*name, runtime.precision, runtime.reason, runtime.provider)
