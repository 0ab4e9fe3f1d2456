"""Where we may connect: a list of bases, compared as parsed tuples, and the addresses behind them.

What a document says (``fhirServer``, ``Endpoint.address``, a ``next`` link) only *selects* one of
these entries; every URL that is requested is built from the entry's own base.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, urljoin, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

Resolver = Callable[[str, int], tuple[str, ...]]
"""(host, port) -> the addresses of the host, in the order in which they should be tried."""

# One strict grammar instead of a lenient parser and a list of tricks: no userinfo, no backslash,
# no fragment, no white space, no control character and nothing outside ASCII can match.
_URL = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://"
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)"
    r"(?:\?(?P<query>(?:[A-Za-z0-9._~!$&'()*+,;=:@/?|\[\]{}^-]|%[0-9A-Fa-f]{2})*))?"
)
# dot, slash, backslash, percent and control characters have no reason to be encoded in a path
_SUSPECT = re.compile(r"%(?:2[eEfF5]|5[cC]|[01][0-9a-fA-F]|7[fF])")
_NUMERIC = re.compile(r"(?:0[xX][0-9A-Fa-f]*|[0-9]+)(?:\.(?:0[xX][0-9A-Fa-f]*|[0-9]*))*")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# where clouds keep credentials; never a peer of ours, whatever the name says
_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32")
)


class NotAllowed(Exception):
    """An address outside the configured ones. The sentence does not quote the address."""

    kind = "egress"
    retryable = False

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port, normalised: two URLs have the same origin if these are equal."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = self.port == _DEFAULT_PORTS[self.scheme]
        return f"{self.scheme}://{host}" + ("" if default else f":{self.port}")


@dataclass(frozen=True)
class Location:
    """A URL taken apart: origin, path segments without empty ends, and the query as written."""

    origin: Origin
    segments: tuple[str, ...]
    query: str = ""


def parse_url(url: str) -> Location:
    """Take an absolute http(s) URL apart, or refuse it.

    Raises:
        NotAllowed: anything but ``scheme://host[:port]/path[?query]`` in plain ASCII; path
            segments ``.`` and ``..``; encoded dots, slashes and control characters; a host that is
            a number but not a canonical address; port 0.
    """
    match = _URL.fullmatch(url) if len(url) <= 8192 else None
    if match is None:
        raise NotAllowed("The address is not a plain http(s) URL.")
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS[scheme]
    if port > 65535:
        raise NotAllowed("The address has a port that does not exist.")
    origin = Origin(scheme, _host(match["host"]), port)
    return Location(origin, _segments(match["path"]), match["query"] or "")


def resolved(link: str, page: str) -> str:
    """What `link` means on the page at `page` (RFC 3986, 5.2); not yet an address to go to.

    A link with a scheme of its own stays as it is written, for `parse_url` to judge.

    Raises:
        NotAllowed: it cannot be taken apart.
    """
    try:
        return link if urlsplit(link).scheme else urljoin(page, link)
    except ValueError:
        raise NotAllowed("The address is not a plain http(s) URL.") from None


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise NotAllowed("The address has a host that is no IPv6 address.") from None
    if ".." in text:
        raise NotAllowed("The address has a host with an empty label.")
    if _NUMERIC.fullmatch(text):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise NotAllowed("The address writes a number in place of a host.") from None
    return text.lower()


def _segments(path: str) -> tuple[str, ...]:
    segments = path.strip("/").split("/") if path.strip("/") else []
    # some servers drop what follows a semicolon before they resolve the dots
    names = (segment.partition(";")[0] for segment in segments)
    if any(name in (".", "..", "") for name in names) or _SUSPECT.search(path):
        raise NotAllowed("The address has a path that leads elsewhere.")
    return tuple(segments)


@dataclass(frozen=True)
class Allowance:
    """One base that we may call; the only source of the URLs of a client.

    A credential belongs to the client that holds this object, and is sent nowhere else.
    """

    name: str
    """What people call it: it stands in sentences, logs and metrics in place of the URL."""

    base_url: str
    """The service base, e.g. ``https://pacs.example.org/dicom-web``; no query."""

    http_ok: bool = False
    """Plain http is accepted (development, or a sidecar on the same host)."""

    private_ok: bool = False
    """The host's name may resolve to a private or loopback address, as in most hospitals.

    A base that *is* such an address, or ``localhost``, has said so already.
    """

    ca_file: str = ""
    """Certificates (PEM) of authorities that are trusted here beside the public ones."""

    location: Location = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        location = parse_url(self.base_url)
        if location.query:
            raise NotAllowed(f"The base of {self.name} must not have a query.")
        if location.origin.scheme == "http" and not self.http_ok:
            raise NotAllowed(f"The base of {self.name} must be https.")
        object.__setattr__(self, "location", location)

    @property
    def origin(self) -> Origin:
        """Scheme, host and port of the base."""
        return self.location.origin

    @property
    def base(self) -> str:
        """The base in its normal form, without a slash at its end."""
        return "/".join((str(self.origin), *self.location.segments))

    def url(self, path: str = "", query: str = "") -> str:
        """The URL of a relative `path` below the base; `query` is already encoded.

        Raises:
            NotAllowed: a path that would leave the base.
        """
        url = f"{self.base}/{path.lstrip('/')}" if path else self.base
        url = f"{url}?{query}" if query else url
        self.relative(url)
        return url

    def covers(self, url: str) -> bool:
        """Whether `url` lies at or below the base."""
        try:
            self.relative(url)
        except NotAllowed:
            return False
        return True

    def relative(self, url: str) -> tuple[str, str]:
        """(path below the base, query) of an absolute `url`.

        Raises:
            NotAllowed: another scheme, host, port or path prefix, or a URL that is refused as such.
        """
        there, prefix = parse_url(url), self.location.segments
        if there.origin != self.origin or there.segments[: len(prefix)] != prefix:
            raise NotAllowed(f"The address does not lie below the base of {self.name}.")
        return "/".join(there.segments[len(prefix) :]), there.query

    def permits(self, address: str) -> bool:
        """Whether a connection for this base may go to the IP `address` (DNS says so)."""
        ip = _unwrapped(ipaddress.ip_address(address.split("%", 1)[0]))
        literal = _literal(self.origin.host)
        if literal is not None:
            return ip == _unwrapped(literal) and not (ip.is_multicast or ip.is_unspecified)
        nowhere = ip.is_multicast or ip.is_unspecified or (ip.is_reserved and not ip.is_loopback)
        if nowhere or any(ip in network for network in _METADATA):
            return False
        if self.origin.host == "localhost" and ip.is_loopback:
            return True
        return self.private_ok or ip.is_global


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _unwrapped(ip: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, NAT64), which is where packets go."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def resolve(host: str, port: int) -> tuple[str, ...]:
    """The addresses of `host` as the system's resolver gives them.

    Raises:
        OSError: the name has no address.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def addresses(allowance: Allowance, resolver: Resolver = resolve) -> tuple[str, ...]:
    """The addresses to which a connection for `allowance` may be opened, asked for once.

    The caller connects to one of *these*: a name that changes its mind in between gains nothing.

    Raises:
        NotAllowed: the name resolves to addresses of which none is permitted.
        OSError: the name does not resolve.
    """
    host = allowance.origin.host
    literal = _literal(host)
    found = (str(literal),) if literal is not None else resolver(host, allowance.origin.port)
    permitted = tuple(address for address in found if allowance.permits(address))
    if not permitted:
        raise NotAllowed(
            f"The name of {allowance.name} leads to an internal address that is not configured."
        )
    return permitted


@dataclass(frozen=True)
class AllowList:
    """All bases that we may call, in the order of the configuration."""

    allowances: tuple[Allowance, ...] = ()

    def __post_init__(self) -> None:
        names = [allowance.name for allowance in self.allowances]
        if len(set(names)) != len(names):
            raise ValueError("Two configured bases have the same name.")

    @classmethod
    def of(cls, allowances: Iterable[Allowance]) -> AllowList:
        """The list of `allowances`."""
        return cls(tuple(allowances))

    def named(self, name: str) -> Allowance:
        """The base with this name.

        Raises:
            NotAllowed: there is none.
        """
        for allowance in self.allowances:
            if allowance.name == name:
                return allowance
        raise NotAllowed("No base of that name is configured.")

    def select(self, url: str) -> Allowance:
        """The configured base below which `url` lies; the longest one, if several fit.

        Raises:
            NotAllowed: there is none.
        """
        parse_url(url)
        fitting = [allowance for allowance in self.allowances if allowance.covers(url)]
        if not fitting:
            raise NotAllowed("The address is not below any configured base.")
        return max(fitting, key=lambda allowance: len(allowance.location.segments))


def segment(text: str, safe: str = "") -> str:
    """`text` as one path segment: a slash inside it cannot open another one."""
    return quote(text, safe=safe)
