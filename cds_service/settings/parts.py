"""The groups of settings: archives, tenants, hook, worker, web."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    field_validator,
    model_validator,
)

from cds_service.settings.cards import TenantCards, Thresholds
from cds_service.settings.evidence import TenantEvidence
from cds_service.settings.smart import SmartApp
from inference.limits import MIB

_FINGERPRINT = re.compile(r"[0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31}")

Algorithm = Literal["ES384", "RS384", "ES256", "RS256"]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


def fingerprint(text: str) -> str:
    """A SHA-256 in small hex without colons; empty if `text` is none."""
    return text.replace(":", "").lower() if _FINGERPRINT.fullmatch(text) else ""


class Part(BaseModel):
    """A group of settings: frozen, and a name that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ArchiveSettings(Part):
    """One image archive that may be asked; nothing else is ever connected to."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    """How tenants, logs and metrics name it."""

    base_url: str
    """The DICOMweb base; a ``/studies`` at its end is left away. Addresses in resources only select
    an entry here."""

    username: str = ""
    """For Basic authentication; empty for none."""

    password: SecretStr = SecretStr("")
    """For Basic authentication."""

    password_file: Path | None = None
    """The password as a file (a mounted secret), instead of `password`; read with every call."""

    bearer_token: SecretStr = SecretStr("")
    """For bearer authentication; wins over username and password."""

    bearer_token_file: Path | None = None
    """The token as a file, instead of `bearer_token`; read with every call, so that whoever fetches
    short-lived tokens can replace it."""

    private_network: bool = False
    """The host's name may resolve to a private address, as inside a hospital; an address that
    stands in `base_url` itself has said so already."""

    requests_in_flight: int = Field(default=1, ge=1, le=16)
    """1 streams a series in one request, the quickest on a LAN; more fetch instances side by side,
    which pays where the way to the archive is long."""

    deadline_s: Seconds = 60
    """Time for one whole series, first byte to last, retries included."""

    series_bytes: int = Field(default=4096 * MIB, gt=0)
    """The most that one series may send before it is refused."""

    @field_validator("base_url")
    @classmethod
    def base_is_the_service(cls, base_url: str) -> str:
        """One form for whoever compares the base and whoever asks below it."""
        return base_url.rstrip("/").removesuffix("/studies").rstrip("/")


class TenantSettings(Part):
    """One EHR: who signs, where its FHIR server is, and who we are there."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    """How logs and metrics name it; part of every opaque id."""

    issuer: str
    """The exact ``iss`` of its hook calls (CDS Hooks 2.0.1, Trusting CDS Clients)."""

    tenant_claim: str = Field(default="", max_length=256)
    """The exact claim ``tenant`` of its calls, where one issuer signs for several organisations:
    each is a tenant of its own here. Empty: the issuer is one tenant, whatever it claims."""

    accepted_audiences: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Values of ``aud`` that are accepted beside the endpoint's own URL, for an EHR in which they
    were typed wrongly. A token with one of them is good for every endpoint (once): each such call
    is logged as a warning, and the doctor and ``/readyz`` say so. Mend the EHR, then empty this."""

    client_certificates: tuple[str, ...] = ()
    """Certificates of which a call must present one beside its token (mutual TLS): SHA-256 in hex,
    or the subject exactly as the proxy writes it. Two while one is renewed; empty asks for none.
    Needs `mutual_tls.proxies`."""

    jwks_url: str = ""
    """Where its public keys are; the ``jku`` of a token is compared with it and never followed."""

    jwks_file: Path | None = None
    """Its public keys as a file, instead of a URL; the ``jku`` of a token is passed over then."""

    algorithms: tuple[Algorithm, ...] = ("ES384", "RS384")
    """Signature algorithms accepted; ``none`` and every symmetric one are not in the choice."""

    fhir_base: str
    """The FHIR R4 base URL: the only value of ``fhirServer`` that is accepted from this issuer."""

    private_network: bool = False
    """The hosts' names (FHIR, token, keys) may resolve to private addresses."""

    archive: str
    """Name of the archive for studies whose ImagingStudy names no usable Endpoint."""

    further_archives: tuple[str, ...] = ()
    """Names of further archives that its Endpoints may select; no other is asked for this tenant.
    Tenants that share an archive share what is in it."""

    backend: Literal["none", "smart", "open"] = "none"
    """How workers read and write without a user: not at all; by SMART Backend Services; or without
    a credential, for a sandbox that asks for none."""

    client_id: str = ""
    """Our identity for SMART Backend Services."""

    token_url: str = ""
    """Token endpoint; empty means that it is read from ``.well-known/smart-configuration``."""

    scopes: tuple[str, ...] = ()
    """What to ask the token endpoint for. Empty asks for the least that serves what is switched on:
    results, ``[triggers]``, subscriptions, AuditEvents (SMART v2; ``scanhook register`` lists them
    with reasons). List them for an EHR that knows others, such as those of SMART v1."""

    signing_key_file: Path | None = None
    """Our private key (JWK or PEM) for the client assertion, ES384 or RS384."""

    write_back: bool = True
    """Whether results are written to the FHIR server; needs a `backend`."""

    fhir_ids: Literal["auto", "conditional", "client-assigned"] = "auto"
    """How new results are named: as the server's CapabilityStatement offers it, or first by
    conditional update on our identifier, or first by an id of our own (a UUID)."""

    states_auto_launch: bool = False
    """Whether each link of a card says ``autoLaunchable: false``, for clients whose models require
    the member (healthchain); the specification does not know it in this spelling."""

    accept_unverified_patients: bool = False
    """Whether images that state a PatientID are taken for a chart that states no identifier of its
    patient. Off, such a study fails as ``identity-unknown``; on, only the study UID is compared."""

    models: tuple[str, ...] = ()
    """Ids of the models that are run for this EHR; empty means all that the site runs."""

    thresholds: Thresholds = {}
    """By model id and label key, the probability from which this EHR wants a label stated, above
    that of the model's manifest; a lower one is refused at start: the sensitivity and the errors of
    the model card were measured from the manifest's on, and below it nobody knows them. Who needs
    a lower one builds the model's package with it, and has its card measured. It holds for cards,
    pages and reports alike; a change analyses studies again when they are next asked for."""

    cards: TenantCards = TenantCards()
    """What this EHR's cards show, where it is not as in ``[hook]``."""

    evidence: TenantEvidence = TenantEvidence()
    """What of a result goes into the archive and into the report itself; nothing by default."""

    smart_app: SmartApp = SmartApp()
    """Who we are where the page is launched from this EHR's charts."""

    @field_validator("client_certificates")
    @classmethod
    def fingerprints_have_one_form(cls, certificates: tuple[str, ...]) -> tuple[str, ...]:
        """Fingerprints in small letters without colons, subjects as they are."""
        return tuple(fingerprint(each) or each for each in certificates)

    @property
    def archives(self) -> tuple[str, ...]:
        """Names of all archives that are asked for this tenant, the default one first."""
        return (self.archive, *self.further_archives)

    @model_validator(mode="after")
    def keys_are_known(self) -> Self:
        """A tenant without keys could never be verified."""
        if bool(self.jwks_url) == (self.jwks_file is not None):
            raise ValueError(f"tenant {self.name}: give either jwks_url or jwks_file")
        if self.backend == "smart" and not (self.client_id and self.signing_key_file):
            raise ValueError(f"tenant {self.name}: smart needs client_id and signing_key_file")
        if self.smart_app.confidential and not self.signing_key_file:
            raise ValueError(f"tenant {self.name}: a confidential smart_app needs signing_key_file")
        return self


class MutualTlsSettings(Part):
    """Certificates of EHRs, as a proxy that ends TLS hands them on; off until `proxies` are named.

    A certificate joins the token and never replaces it."""

    proxies: tuple[IPvAnyNetwork, ...] = ()
    """Addresses or networks of the proxies whose header is believed; from everywhere else it is not
    looked at. The proxy must check the certificate, and drop the header that a client sends."""

    header: str = Field(default="Client-Cert", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")
    """The header with the certificate: the whole of it (RFC 9440, or percent-encoded PEM), its
    SHA-256 in hex, or its subject."""


class HookSettings(Part):
    """How the hook answers."""

    wait_ms: int = Field(default=0, ge=0, le=2000)
    """How long an answer may wait for a result that is nearly ready. CDS Hooks asks for answers in
    the order of 500 ms, so 0 answers at once and lets the next hook show the result."""

    studies: int = Field(default=5, ge=1, le=20)
    """The most studies of a patient that one hook looks at, newest first."""

    body_bytes: int = Field(default=2 * MIB, gt=0)
    """The largest request body; a bigger one is refused with 413. An ImagingStudy of 8,000 images
    has 1.4 MiB."""

    fhir_deadline_s: Seconds = 2
    """Time for everything that is read from the EHR's FHIR server within one hook."""

    discovery_open: bool = True
    """Whether ``GET /cds-services`` answers without a token; some EHRs probe it so."""

    cors_origins: tuple[str, ...] = ()
    """Browser origins (sandboxes) that may call the services."""

    show_pending: bool = True
    """Whether a queued or running analysis has a card."""

    show_failed: bool = True
    """Whether a failed analysis has an information card, or is for operators only."""

    show_not_analysed: bool = True
    """Whether a study that no model is for has an information card."""

    show_no_finding: bool = True
    """Whether "no finding" has an information card; it is never said before it was computed."""

    show_measured: bool = True
    """Whether an outline with its size, without any finding, has an information card."""

    finding_indicator: Literal["info", "warning", "critical"] = "warning"
    """Indicator of a card that states a finding."""


class WorkerSettings(Part):
    """How jobs run."""

    job_timeout_s: int = Field(default=120, ge=5, le=3600)
    """Time for one study; then its child is ended and the attempt counted."""

    attempts: int = Field(default=3, ge=1, le=10)
    """Attempts before a study ends as failed."""

    queue_cap: int = Field(default=10_000, ge=1)
    """Studies that may be under way; above it a hook says that the service is not available."""

    tenant_reserve: float = Field(default=0.5, ge=0, le=0.9)
    """Part of ``queue_cap`` (0 to 0.9) that is kept for the tenants in equal parts: whoever has
    fewer studies under way than its part is not refused, whatever the others order. The rest goes
    to whoever comes first, and to backfill, of which none counts for a part."""

    jobs_per_child: int = Field(default=1000, ge=1)
    """After so many jobs the child is replaced by a fresh one, against slow leaks."""

    memory_bytes: int = Field(default=4096 * MIB, ge=512 * MIB)
    """Address space of the child: a study that asks for more gets an error, not the OOM killer."""

    threads: int = Field(default=0, ge=0, le=64)
    """Slices at the same time; 0 is one for each core."""

    nice: int = Field(default=10, ge=0, le=19)
    """How far a worker stands back for other processes of its machine: a hook that waits for an
    answer goes before a study that does not. 0 where workers have machines of their own."""


class ModelsSettings(Part):
    """In which precision models run, and how that is watched."""

    precision: Literal["auto", "fp32", "int8"] = "auto"
    """``auto`` runs the 8-bit file of a package whose build proved it harmless, where this machine
    gains from it; ``fp32`` and ``int8`` ask for one of the two. A file that is missing, failed the
    gates of its build or fails its self-test is never run: the other one is, and each result says
    which and why."""

    shadow_share: float = Field(default=0.02, ge=0, le=1)
    """Share of studies (0 to 1) that are analysed once more in the other precision, when nothing
    more urgent waits; nothing is written of it. Above the model's limit (5 % of the last 200) every
    worker runs that model in fp32. 0.02 costs one analysis in fifty and sees 200 in 10,000
    studies; 0 watches nothing."""

    disabled: tuple[str, ...] = ()
    """Ids of models that are out of use: not run, and nothing of theirs on a card. ``scanhook
    models disable`` does the same at once; what stands here outlasts a lost queue."""


class WebSettings(Part):
    """Where and how the web process listens."""

    host: str = "127.0.0.1"
    """Address to bind; a proxy in front terminates TLS."""

    port: int = Field(default=8080, ge=0, le=65_535)
    """Port to bind; 0 takes a free one."""

    threads: int = Field(default=8, ge=1, le=64)
    """Requests answered at the same time."""

    connections: int = Field(default=200, ge=10)
    """Open sockets; slow ones are cut after 10 s."""

    operator_token: SecretStr = SecretStr("")
    """Bearer token for ``/metrics`` and for the reasons of ``/readyz``, both of which name tenants;
    empty shows them to whoever reaches the port, which is then the proxy's to keep."""

    frame_ancestors: tuple[str, ...] = ()
    """Origins of EHRs that show the explanation page in a frame; by default none may."""
