"""Web addresses that others wrote: compared as parsed values, and only ever used to select.

Nothing connects to an address that was read. It names an entry of the configured list, or it is
refused (reliability: the destination is configuration, not data).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from fhir_mapping.errors import ArchiveNotAllowed, Contradiction, Malformed
from fhir_mapping.reading import ID, UID

_PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[^\x21-\x7e\u00a0-\U0010ffff]|[\\<>\"{}|^`]")
_LEVELS = (("studies", "study"), ("series",), ("instances",))
_PLACEHOLDERS = frozenset({"notspecified", "notapplicable"})


@dataclass(frozen=True)
class Origin:
    """An http(s) address in comparable form: scheme, host, port, and path segments as written."""

    scheme: str
    host: str
    port: int
    segments: tuple[str, ...]

    def below(self, base: Origin) -> tuple[str, ...] | None:
        """Return the segments after `base`, or ``None`` when this is not at or under it."""
        length = len(base.segments)
        same = (self.scheme, self.host, self.port) == (base.scheme, base.host, base.port)
        return self.segments[length:] if same and self.segments[:length] == base.segments else None


def _host(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.encode("idna").decode("ascii").lower().removesuffix(".")


def parse(address: str) -> Origin:
    """Parse an absolute http(s) address.

    Raises `Malformed` for another scheme, userinfo, query, fragment, a dot segment, an empty
    segment inside the path, a backslash, blank or control character: none of these belongs into
    the base of a service, and each is a known way to make two parsers disagree.
    """
    sentence = "An address is not a plain http or https address."
    if len(address) > 2048 or _UNSAFE.search(address) or "?" in address or "#" in address:
        raise Malformed(sentence)
    try:
        parts = urlsplit(address)
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError:  # UnicodeError of the IDNA codec is one, too
        raise Malformed(sentence) from None
    scheme = parts.scheme.lower()
    segments = tuple(parts.path.removesuffix("/").split("/")[1:])
    odd = any(segment.lower().replace("%2e", ".") in ("", ".", "..") for segment in segments)
    if scheme not in _PORTS or not host or "@" in parts.netloc or odd:
        raise Malformed(sentence)
    return Origin(scheme, host, _PORTS[scheme] if port is None else port, segments)


def absolute(address: str, fhir_base: str) -> str:
    """Resolve ``Endpoint.address``, which may be relative to the FHIR server (R4 ``url``)."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:", address):
        return address
    base = fhir_base.rstrip("/")
    if address.startswith("//"):
        return f"{urlsplit(base).scheme}:{address}"
    if address.startswith("/"):
        parts = urlsplit(base)
        return f"{parts.scheme}://{parts.netloc}{address}"
    return f"{base}/{address}"


def is_placeholder(address: str) -> bool:
    """Say whether this is one of the addresses that mean "none" (MADO: ``http://notspecified``)."""
    parts = address.lower().partition("://")
    return parts[0] in _PORTS and parts[2].rstrip("/") in _PLACEHOLDERS


def relative_reference(reference: str | None, resource_type: str, fhir_base: str) -> str | None:
    """Return ``Type/id`` for a literal reference to a resource of this type on this server.

    Accepts a relative and an absolute reference, each with or without ``/_history/version``.
    Returns ``None`` for another type, another server, or anything that is not a reference.
    """
    if reference is None:
        return None
    try:
        path = _below_server(reference, fhir_base)
    except Malformed:
        return None
    if path is None or len(path) not in (2, 4) or path[0] != resource_type:
        return None
    versioned = len(path) == 4
    if versioned and not (path[2] == "_history" and ID.fullmatch(path[3])):
        return None
    return f"{path[0]}/{path[1]}" if ID.fullmatch(path[1]) else None


def _below_server(reference: str, fhir_base: str) -> tuple[str, ...] | None:
    if "://" in reference:
        return parse(reference).below(parse(fhir_base))
    return tuple(reference.split("/"))


def _strip_study_path(rest: tuple[str, ...], study_uid: str, series_uid: str | None) -> bool:
    """Say whether `rest` is a DICOMweb path of this study (PS3.18 10.4), or nothing at all."""
    levels, stated = rest[::2], rest[1::2]
    named = all(name in level for name, level in zip(levels, _LEVELS, strict=False))
    if len(rest) > 2 * len(_LEVELS) or not named or not all(map(UID.fullmatch, stated)):
        return False
    if stated[:1] not in ((), (study_uid,)) or (
        series_uid and stated[1:] not in ((), (series_uid,))
    ):
        raise Contradiction("An Endpoint's address names another study or series than its own.")
    return True


@dataclass(frozen=True)
class ArchiveAddresses:
    """The archives that may be connected to: name -> base URL of the DICOMweb service.

    A base may be written with a closing slash or ``/studies``. `default` names the archive of a
    study that has no Endpoint, or one whose address says "none". Raises `Malformed` when a base is
    no plain address, or `default` is not a name on the list.
    """

    bases: Mapping[str, str]
    default: str | None = None

    def __post_init__(self) -> None:
        names = self.origins
        if self.default is not None and self.default not in names:
            raise Malformed("The default archive is not one of the archives.")

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        """The parsed list, the longest path first, so that the closest entry is selected."""
        parsed = {name: _service_root(parse(base)) for name, base in self.bases.items()}
        return dict(sorted(parsed.items(), key=lambda item: -len(item[1].segments)))

    def select(self, address: str, study_uid: str, series_uid: str | None = None) -> str:
        """Return the name of the archive that an (absolute) address points to.

        The address may be the service's base or carry the path of the study or of the series
        behind it. Raises `ArchiveNotAllowed` when nothing on the list fits, `Contradiction` when
        the path names another study.
        """
        sentence = "The images are in an archive that is not on the list of allowed archives."
        try:
            wanted = parse(address)
        except Malformed:
            raise ArchiveNotAllowed(sentence) from None
        for name, origin in self.origins.items():
            rest = wanted.below(origin)
            if rest is not None and _strip_study_path(rest, study_uid, series_uid):
                return name
        raise ArchiveNotAllowed(sentence)


def _service_root(origin: Origin) -> Origin:
    if origin.segments[-1:] != ("studies",):
        return origin
    return Origin(origin.scheme, origin.host, origin.port, origin.segments[:-1])
