"""Which models answer for a tenant now, and from which probability on.

The site's packages, less those that the tenant does not take and those that are switched off. The
choice has a version: what was analysed under another one is analysed again, so that a card, a page
and a report never rest on a choice that is not in force.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cds_service.settings import TenantSettings
from inference.analysis import ModelUse, Reason
from models.registry import ModelPackage

DISABLED = "disabled"
"""Kind of the reason of a model that is switched off."""

_NO_THRESHOLDS: Mapping[str, Mapping[str, float]] = {}


@dataclass(frozen=True)
class ServedModels:
    """The models in use: a version of the whole choice, and the ids in it.

    `withheld` are the ids of installed models that are not asked; of these, `disabled` are told of,
    because somebody may expect them. `thresholds` are the tenant's own, by model id and label key.
    """

    version: str
    ids: frozenset[str]
    withheld: frozenset[str] = frozenset()
    disabled: tuple[ModelUse, ...] = ()
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def served_models(
    packages: Sequence[ModelPackage],
    tenant: TenantSettings | None = None,
    disabled: Collection[str] = (),
) -> ServedModels:
    """The choice for `tenant` (``None``: the whole site) while `disabled` ids are switched off."""
    taken = [p for p in packages if not (tenant and tenant.models) or _id(p) in tenant.models]
    used = [package for package in taken if _id(package) not in disabled]
    ids = frozenset(map(_id, used))
    thresholds = tenant.thresholds if tenant else _NO_THRESHOLDS
    return ServedModels(
        version=_version(used, {name: thresholds[name] for name in sorted(ids & set(thresholds))}),
        ids=ids,
        withheld=frozenset(map(_id, packages)) - ids,
        disabled=tuple(_told(package) for package in taken if package not in used),
        thresholds=thresholds,
    )


def _id(package: ModelPackage) -> str:
    return package.manifest.id


def _told(package: ModelPackage) -> ModelUse:
    name = (package.manifest.id, package.manifest.version)
    sentence = f"Not analysed: the model {' '.join(name)} is switched off."
    return ModelUse(*name, (Reason(DISABLED, sentence),))


def _version(
    packages: Sequence[ModelPackage], thresholds: Mapping[str, Mapping[str, float]]
) -> str:
    """A short name of exactly this choice: another file or threshold, another name."""
    parts = [
        f"{p.manifest.id} {p.manifest.version} {name} {sha256}"
        for p in packages
        for name, sha256 in sorted(p.manifest.files.items())
    ]
    parts += [
        f"{model_id} {label} {threshold}"
        for model_id, labels in thresholds.items()
        for label, threshold in sorted(labels.items())
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def unfit(packages: Sequence[ModelPackage], tenant: TenantSettings) -> Iterator[str]:
    """A sentence for each model or threshold of a tenant's that cannot be served as it stands.

    A threshold may be stricter than the manifest's, never looser: what the model card states was
    measured from the manifest's threshold on, and below it nothing is known of the model.
    """
    manifests = {package.manifest.id: package.manifest for package in packages}
    named = f"tenant {tenant.name}"
    for model_id in sorted({*tenant.models, *tenant.thresholds} - manifests.keys()):
        yield f"{named}: there is no model {model_id}"
    for model_id in sorted(tenant.thresholds.keys() & manifests.keys()):
        labels = {label.key: label for label in manifests[model_id].labels}
        for key, threshold in tenant.thresholds[model_id].items():
            label = labels.get(key)
            if label is None or label.role == "structure":
                yield f"{named}: {model_id} has no label {key} with a threshold to be stated"
            elif threshold < label.threshold:
                yield (
                    f"{named}: the threshold {threshold} of {model_id} {key} is below the"
                    f" {label.threshold} from which the model was measured"
                )
