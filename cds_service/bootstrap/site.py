"""What web and worker have in common, built from one set of settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from redis import Redis

from cds_service.bootstrap.dispatch import dispatch_policy
from cds_service.bootstrap.outside import Outside
from cds_service.errors import UnsafeSettings
from cds_service.evidence.ledger import EvidenceLedger
from cds_service.feedback import CardLedger
from cds_service.model_choice import ServedModels, served_models, unfit
from cds_service.ops.drift import DriftLedger
from cds_service.queue.connection import refuse_unsafe, web_connection, worker_connection
from cds_service.queue.enqueue import Dispatcher
from cds_service.queue.listing import live_hosts
from cds_service.queue.payload import Sealer
from cds_service.queue.records import StudyRecords
from cds_service.recalls import Recalls
from cds_service.rights import RightsBoard
from cds_service.security.links import Links
from cds_service.serving import ServingBoard, standing
from cds_service.settings import Settings
from cds_service.shadow import ModelName, ShadowLedger
from cds_service.store import ExplanationStore
from cds_service.switches import Disabled, ModelSwitches
from fhir_mapping.identity import model_device_identity
from models.registry import Registry, load_registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """Everything that settings can build; each part when it is first asked for."""

    settings: Settings

    @cached_property
    def outside(self) -> Outside:
        """Whom we call."""
        return Outside(self.settings)

    @cached_property
    def registry(self) -> Registry:
        """The enabled model packages, verified."""
        found = load_registry(self.settings.models_dirs)
        enabled = self.settings.models_enabled
        there = {package.manifest.id for package in found.packages}
        named = {"models_enabled": enabled, "models.disabled": self.settings.models.disabled}
        problems = [
            f"{setting}: there is no model {name}"
            for setting, names in named.items()
            for name in sorted(set(names) - there)
        ]
        packages = tuple(p for p in found.packages if not enabled or p.manifest.id in enabled)
        problems += [each for t in self.settings.tenants for each in unfit(packages, t)]
        if problems:
            raise UnsafeSettings(problems)
        return Registry(packages)

    def models_in_use(self, disabled: Disabled) -> Callable[[str], ServedModels]:
        """How to ask which models answer for a tenant, by its name, now: no switch needs a restart.

        What it gives raises QueueUnavailable when the switches cannot be read.
        """
        return lambda name: self.served_to(name, disabled())

    def served_to(self, name: str, disabled: Collection[str]) -> ServedModels:
        """The models that answer for the tenant of this name while these are switched off, and
        those that the settings switch off."""
        tenant = next(each for each in self.settings.tenants if each.name == name)
        off = {*disabled, *self.settings.models.disabled}
        return served_models(self.registry.packages, tenant, off)

    def model_switches(self, *, patient: bool) -> ModelSwitches:
        """What an operator switches models off with."""
        return ModelSwitches(self._connection(patient=patient))

    def card_ledger(self, *, patient: bool) -> CardLedger:
        """What cards said, and what clinicians answered."""
        return CardLedger(self._connection(patient=patient), self.sealer, time.time)

    def disabled_models(self, *, patient: bool) -> Disabled:
        """How to ask which models are switched off, by the settings or by an operator."""
        switches = self.model_switches(patient=patient)
        return lambda: switches.disabled().union(self.settings.models.disabled)

    @cached_property
    def links(self) -> Links:
        """Signs and opens the links of explanation pages."""
        return Links(self._secrets, self.settings.base_url, self.settings.link_lifetime_s)

    @cached_property
    def sealer(self) -> Sealer:
        """Seals what waits in the queue."""
        return Sealer([secret.encode() for secret in self._secrets])

    @property
    def _secrets(self) -> list[str]:
        secrets = [secret.get_secret_value() for secret in self.settings.site_secrets]
        if not secrets:
            raise UnsafeSettings(
                ["site_secrets is empty: set one made by `scanhook keys new-secret`"]
            )
        return secrets

    @cached_property
    def store(self) -> ExplanationStore:
        """The folder of explanations."""
        return ExplanationStore(self.settings.state_dir / "explanations")

    @cached_property
    def recalls(self) -> Recalls:
        """The model versions that were recalled."""
        return Recalls(self.settings.state_dir / "recalls.jsonl")

    def device_names(self, model_id: str, version: str) -> tuple[str, ...]:
        """Values of the Device identifiers of a model version, if it is still installed."""
        found = load_registry(self.settings.models_dirs).packages
        return tuple(
            model_device_identity(model_id, version, sha256).value
            for package in found
            if (package.manifest.id, package.manifest.version) == (model_id, version)
            for sha256 in package.manifest.files.values()
        )

    def evidence_ledger(self, *, patient: bool) -> EvidenceLedger:
        """What became of each study's evidence."""
        return EvidenceLedger(self._connection(patient=patient))

    def drift_ledger(self) -> DriftLedger:
        """What the models' last results were."""
        return DriftLedger(self._connection(patient=True))

    def rights_board(self, *, patient: bool) -> RightsBoard:
        """What the workers say of their rights."""
        return RightsBoard(self._connection(patient=patient))

    def dispatcher(self, *, patient: bool) -> Dispatcher:
        """The queue: `patient` as a worker is, or impatient as the web must be."""
        connection = self._connection(patient=patient)
        records = StudyRecords(connection, self.sealer)
        return Dispatcher(connection, self.sealer, records, dispatch_policy(self.settings))

    @cached_property
    def model_names(self) -> tuple[ModelName, ...]:
        """The models in use, by id and version."""
        manifests = (package.manifest for package in self.registry.packages)
        return tuple(ModelName(manifest.id, manifest.version) for manifest in manifests)

    def shadow_ledger(self, *, patient: bool) -> ShadowLedger:
        """What shadow runs have shown."""
        return ShadowLedger(self._connection(patient=patient))

    def serving_board(self, *, patient: bool) -> ServingBoard:
        """What the workers say of their models."""
        return ServingBoard(self._connection(patient=patient))

    def model_standing(self, connection: Redis) -> dict[str, str]:
        """A sentence for each model in use, as the workers that are there serve it.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        heard = ServingBoard(connection).heard(live_hosts(connection, time.time()))
        disabled = ModelSwitches(connection).disabled().union(self.settings.models.disabled)
        return standing(self.model_names, heard, ShadowLedger(connection).watched(), disabled)

    def _connection(self, *, patient: bool) -> Redis:
        return (worker_connection if patient else web_connection)(self.settings.redis_url)

    def check_queue(self) -> None:
        """Refuse a Redis that would lose work; outside production say so and go on.

        Raises:
            UnsafeRedis: in production, with what to set.
            QueueUnavailable: Redis is not there (yet).
        """
        production = self.settings.environment == "production"
        for sentence in refuse_unsafe(web_connection(self.settings.redis_url), production):
            log.warning(sentence)
