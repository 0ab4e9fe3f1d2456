"""The operations page, for a site that has set its secret."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flask import Blueprint

from cds_service.bootstrap.site import Site
from cds_service.ops.credential import Credential
from cds_service.ops.drift import Baseline, baselines
from cds_service.ops.page import OpsPages
from cds_service.ops.reading import Reader
from cds_service.ops.routes import ops_blueprint
from cds_service.queue.enqueue import Dispatcher
from cds_service.shadow import ModelName
from models.registry import ModelPackage


def operations(site: Site, dispatcher: Dispatcher) -> list[Blueprint]:
    """The page; no address of it without a secret."""
    settings = site.settings.ops
    secret = settings.secret.get_secret_value()
    if not secret:
        return []
    root = site.links.base_path
    reader = Reader(
        dispatcher=dispatcher,
        models=_models(site),
        upstreams=site.outside.upstreams,
        disabled=frozenset(site.settings.models.disabled),
        limit=settings.studies,
    )
    return [
        ops_blueprint(
            reader,
            Credential(secret),
            OpsPages(root, settings.refresh_s),
            root=root,
            failures_per_minute=settings.failures_per_minute,
        )
    ]


def _models(site: Site) -> Mapping[ModelName, Mapping[str, Baseline]]:
    packages = zip(site.model_names, site.registry.packages, strict=True)
    return {name: baselines(_report(package)) for name, package in packages}


def _report(package: ModelPackage) -> Mapping[str, object]:
    """What was measured when the model was built; nothing for a package that does not say."""
    try:
        report = json.loads((package.folder / "report.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}
