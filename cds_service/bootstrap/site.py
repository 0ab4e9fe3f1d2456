"""What web and worker have in common, built from one set of settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from redis import Redis

from cds_service.bootstrap.auditing import Audits
from cds_service.bootstrap.dispatch import dispatch_policy
from cds_service.clients.backend_auth import BackendServices
from cds_service.clients.credentials import FixedHeaders, NoCredential
from cds_service.clients.dicomweb import Archive
from cds_service.clients.fhir import FhirServer
from cds_service.clients.http import Credential, HttpClient, Request
from cds_service.clients.policy import HttpPolicy, RetrievalPolicy
from cds_service.clients.stow import StowService
from cds_service.errors import UnsafeSettings
from cds_service.evidence.ledger import EvidenceLedger
from cds_service.features import Feature, backend_scopes, essential, lost
from cds_service.feedback import CardLedger
from cds_service.model_choice import ServedModels, served_models, unfit
from cds_service.ops.drift import DriftLedger
from cds_service.ops.upstreams import Listening, Upstream, UpstreamBoard
from cds_service.queue.connection import refuse_unsafe, web_connection, worker_connection
from cds_service.queue.enqueue import Dispatcher
from cds_service.queue.listing import live_hosts
from cds_service.queue.payload import Sealer
from cds_service.queue.records import StudyRecords
from cds_service.recalls import Recalls
from cds_service.rights import Granted, RightsBoard
from cds_service.security.egress import Allowance, AllowList
from cds_service.security.jwks import CallerKeySets
from cds_service.security.keyring import KeyFile
from cds_service.security.keys import SigningKey
from cds_service.security.links import Links
from cds_service.serving import ServingBoard, standing
from cds_service.settings import ArchiveSettings, Settings, TenantSettings, on_this_machine
from cds_service.shadow import ModelName, ShadowLedger
from cds_service.store import ExplanationStore
from cds_service.switches import Disabled, ModelSwitches
from fhir_mapping.identity import model_device_identity
from models.registry import Registry, load_registry

log = logging.getLogger(__name__)

KEYS_POLICY = HttpPolicy(deadline_s=3, connect_s=1, silence_s=2, bytes_cap=262_144, attempts=2)
"""For a tenant's key set: a hook may be waiting for it."""


@dataclass(frozen=True)
class Site:
    """Everything that settings can build; each part when it is first asked for."""

    settings: Settings
    _credentials: dict[str, BackendServices] = field(default_factory=dict, repr=False)

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

    @cached_property
    def model_set(self) -> str:
        """A short name of exactly these models: another file, another name."""
        return served_models(self.registry.packages).version

    def models_in_use(self, disabled: Disabled) -> Callable[[str], ServedModels]:
        """How to ask which models answer for a tenant, by its name, now: no switch needs a restart.

        What it gives raises QueueUnavailable when the switches cannot be read.
        """
        tenants = {tenant.name: tenant for tenant in self.settings.tenants}
        return lambda name: served_models(self.registry.packages, tenants[name], disabled())

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

    def archive(self, archive: ArchiveSettings) -> Archive:
        """A client of one archive."""
        return Archive(
            self.archive_allowance(archive),
            credential=_archive_credential(archive),
            breaker=self._listening(Upstream("archive", archive.name)),
            retrieval=RetrievalPolicy(
                deadline_s=archive.deadline_s,
                series_bytes=archive.series_bytes,
                instance_bytes=self.settings.limits.instance_bytes,
                instances=self.settings.limits.instances,
                requests_in_flight=archive.requests_in_flight,
            ),
        )

    def stow(self, archive: ArchiveSettings, deadline_s: float) -> StowService:
        """The same archive to store into; its failures are not those of fetching."""
        policy = HttpPolicy(deadline_s=deadline_s, silence_s=deadline_s, attempts=3)
        allowance = self.archive_allowance(archive)
        credential = _archive_credential(archive)
        breaker = self._listening(Upstream("archive", archive.name))
        client = HttpClient(allowance, credential=credential, policy=policy, breaker=breaker)
        return StowService(client)

    def evidence_ledger(self, *, patient: bool) -> EvidenceLedger:
        """What became of each study's evidence."""
        return EvidenceLedger(self._connection(patient=patient))

    def fhir_allowance(self, tenant: TenantSettings) -> Allowance:
        """The base of a tenant's FHIR server."""
        return self._allowance(f"{tenant.name}-fhir", tenant.fhir_base, tenant.private_network)

    def jwks_allowance(self, tenant: TenantSettings) -> Allowance:
        """Where a tenant's public keys are."""
        return self._allowance(f"{tenant.name}-keys", tenant.jwks_url, tenant.private_network)

    @cached_property
    def caller_keys(self) -> CallerKeySets:
        """The public keys of the tenants' EHRs."""
        clients = {
            url: HttpClient(
                self.jwks_allowance(tenant),
                policy=KEYS_POLICY,
                breaker=self._listening(Upstream("keys", tenant.name)),
            )
            for url, tenant in self._key_sets.items()
        }
        request = Request("GET", "", "", {"Accept": "*/*"})
        return CallerKeySets(lambda url: clients[url].send(request).body, time.monotonic)

    @property
    def _key_sets(self) -> dict[str, TenantSettings]:
        """The tenant by which each key set is named; the first, where several share one."""
        return {t.jwks_url: t for t in reversed(self.settings.tenants) if t.jwks_url}

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """Whom we depend on and call ourselves, hooks aside."""
        key_sets = {tenant.name for tenant in self._key_sets.values()}
        return (
            *(Upstream("archive", archive.name) for archive in self.settings.archives),
            *(Upstream("fhir", t.name) for t in self.settings.tenants if t.backend != "none"),
            *(Upstream("keys", t.name) for t in self.settings.tenants if t.name in key_sets),
        )

    def _listening(self, upstream: Upstream) -> Listening:
        """A breaker for our calls of one upstream that leaves word of how they went."""
        return Listening(upstream=upstream, board=lambda: self._upstream_board)

    @cached_property
    def _upstream_board(self) -> UpstreamBoard:
        """Impatient even in a worker: no call waits for it."""
        return UpstreamBoard(web_connection(self.settings.redis_url))

    def drift_ledger(self) -> DriftLedger:
        """What the models' last results were."""
        return DriftLedger(self._connection(patient=True))

    def _allowance(self, name: str, base_url: str, private: bool) -> Allowance:
        http_ok = self.settings.environment == "development" or on_this_machine(base_url)
        return Allowance(name, base_url, http_ok=http_ok, private_ok=private)

    def backend(self, tenant: TenantSettings) -> FhirServer | None:
        """A tenant's FHIR server as we reach it without a user; None if we may not."""
        if tenant.backend == "none":
            return None
        fhir = self.fhir_allowance(tenant)
        credential = self._backend_services(tenant) or NoCredential()
        breaker = self._listening(Upstream("fhir", tenant.name))
        return FhirServer(
            fhir, credential=credential, watch=self.audits.watch(tenant), breaker=breaker
        )

    @cached_property
    def audits(self) -> Audits:
        """What keeps the audit trail of FHIR servers and archives."""
        return Audits(self.settings, self.fhir_allowance, self.archive_allowance, self._unwatched)

    def _unwatched(self, tenant: TenantSettings) -> FhirServer:
        """For the audit trail alone, of which none is kept."""
        credential = self._backend_services(tenant) or NoCredential()
        return FhirServer(self.fhir_allowance(tenant), credential=credential)

    def archive_allowance(self, archive: ArchiveSettings) -> Allowance:
        """The base of an archive."""
        return self._allowance(archive.name, archive.base_url, archive.private_network)

    def may(self, tenant: TenantSettings, resource_type: str, access: str) -> bool:
        """Whether our token's scopes grant `access` (letters of ``cruds``); asks for a token.

        Raises:
            UpstreamError: the token endpoint does not give one.
        """
        credential = self._backend_services(tenant)
        return credential is None or credential.allows(resource_type, access)

    def features_off(self, tenant: TenantSettings) -> tuple[Feature, ...]:
        """What is off because our token may do less than was asked; asks for a token."""
        credential = self._backend_services(tenant)
        if credential is None:
            return ()
        credential.allows("Patient", "")
        asked = tuple(backend_scopes(self.settings, tenant))
        return lost(asked, credential.granted or asked)

    def rights_board(self, *, patient: bool) -> RightsBoard:
        """What the workers say of their rights."""
        return RightsBoard(self._connection(patient=patient))

    def _backend_services(self, tenant: TenantSettings) -> BackendServices | None:
        """Who we are at this EHR: one credential, and so one token, in each process."""
        if tenant.backend != "smart" or tenant.signing_key_file is None:
            return None
        if tenant.name not in self._credentials:
            self._credentials[tenant.name] = self._new_credential(tenant, tenant.signing_key_file)
        return self._credentials[tenant.name]

    def _new_credential(self, tenant: TenantSettings, key_file: Path) -> BackendServices:
        fhir = self.fhir_allowance(tenant)
        allowed = [fhir]
        if tenant.token_url:
            name = f"{tenant.name}-token"
            allowed.append(self._allowance(name, tenant.token_url, tenant.private_network))
        asked = tuple(backend_scopes(self.settings, tenant))
        return BackendServices(
            fhir,
            AllowList.of(allowed),
            tenant.client_id,
            self._key_files[key_file].signing,
            asked,
            least=essential(asked),
            token_url=tenant.token_url,
            told=Granted(tenant.name, asked, partial(self.rights_board, patient=False)),
        )

    @cached_property
    def _key_files(self) -> dict[Path, KeyFile]:
        """Our signing keys, by their file."""
        files = {t.signing_key_file for t in self.settings.tenants if t.signing_key_file}
        return {path: KeyFile(path) for path in sorted(files)}

    def tenant_keys(self, tenant: TenantSettings) -> tuple[SigningKey, ...]:
        """Our keys for this EHR whose public halves are published now."""
        file = tenant.signing_key_file
        return self._key_files[file].published() if file else ()

    def published_keys(self) -> list[SigningKey]:
        """Our keys whose public halves are published now."""
        return [key for file in self._key_files.values() for key in file.published()]

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


def _archive_credential(archive: ArchiveSettings) -> Credential:
    token = archive.bearer_token.get_secret_value() or _secret_in(archive.bearer_token_file)
    if token:
        return FixedHeaders.bearer(token)
    if archive.username:
        password = archive.password.get_secret_value() or _secret_in(archive.password_file)
        return FixedHeaders.basic(archive.username, password)
    return NoCredential()


def _secret_in(file: Path | None) -> str:
    return file.read_text(encoding="utf-8").strip() if file else ""
