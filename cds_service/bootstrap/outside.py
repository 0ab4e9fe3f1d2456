"""Whom scanhook calls itself: archives, FHIR servers, key sets; each at its own addresses only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from cds_service.bootstrap.auditing import Audits
from cds_service.clients.backend_auth import BackendServices
from cds_service.clients.credentials import FixedHeaders, MountedSecret, NoCredential
from cds_service.clients.dicomweb import Archive
from cds_service.clients.fhir import FhirServer
from cds_service.clients.http import Credential, HttpClient, Request
from cds_service.clients.policy import HttpPolicy, RetrievalPolicy
from cds_service.clients.stow import StowService
from cds_service.features import Feature, backend_scopes, essential, lost
from cds_service.ops.upstreams import Listening, Upstream, UpstreamBoard
from cds_service.queue.connection import web_connection
from cds_service.rights import Granted, RightsBoard
from cds_service.security.egress import Allowance, AllowList
from cds_service.security.jwks import CallerKeySets
from cds_service.security.keyring import KeyFile
from cds_service.security.keys import SigningKey
from cds_service.settings import ArchiveSettings, Settings, TenantSettings, on_this_machine

KEYS_POLICY = HttpPolicy(deadline_s=3, connect_s=1, silence_s=2, bytes_cap=262_144, attempts=2)
"""For a tenant's key set: a hook may be waiting for it."""


@dataclass(frozen=True)
class Outside:
    """A client of each upstream that the settings name, built when it is first asked for."""

    settings: Settings
    _credentials: dict[str, BackendServices] = field(default_factory=dict, repr=False)

    def archive_allowance(self, archive: ArchiveSettings) -> Allowance:
        """The base of an archive."""
        return self._allowance(archive.name, archive.base_url, archive.private_network)

    def fhir_allowance(self, tenant: TenantSettings) -> Allowance:
        """The base of a tenant's FHIR server."""
        return self._allowance(f"{tenant.name}-fhir", tenant.fhir_base, tenant.private_network)

    def jwks_allowance(self, tenant: TenantSettings) -> Allowance:
        """Where a tenant's public keys are."""
        return self._allowance(f"{tenant.name}-keys", tenant.jwks_url, tenant.private_network)

    def _allowance(self, name: str, base_url: str, private: bool) -> Allowance:
        http_ok = self.settings.environment == "development" or on_this_machine(base_url)
        ca_file = str(self.settings.ca_file or "")
        return Allowance(name, base_url, http_ok=http_ok, private_ok=private, ca_file=ca_file)

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
            told=Granted(tenant.name, asked, self._rights_board),
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

    def _rights_board(self) -> RightsBoard:
        return RightsBoard(web_connection(self.settings.redis_url))


def _archive_credential(archive: ArchiveSettings) -> Credential:
    if token := archive.bearer_token.get_secret_value():
        return FixedHeaders.bearer(token)
    if archive.bearer_token_file:
        return MountedSecret(archive.bearer_token_file, FixedHeaders.bearer)
    if not archive.username:
        return NoCredential()
    password = archive.password.get_secret_value()
    if archive.password_file and not password:
        return MountedSecret(archive.password_file, partial(FixedHeaders.basic, archive.username))
    return FixedHeaders.basic(archive.username, password)
