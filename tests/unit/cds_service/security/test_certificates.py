"""A certificate counts if a listed proxy hands it on, in whichever way proxies write it."""

from __future__ import annotations

import datetime
from base64 import b64encode
from hashlib import sha256
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from cds_service.security.certificates import ClientCertificates, certificate_name
from cds_service.security.errors import InvalidToken
from cds_service.settings import MutualTlsSettings
from tests.doubles import ehr
from tests.doubles.hooking import PATIENT_VIEW, patient_view, settings, site

PROXY = "10.1.2.3"
SUBJECT = "CN=ehr.example.org,O=North"


def certificate(name: str = "ehr.example.org") -> x509.Certificate:
    """Signed by its own key; nobody here looks at the chain, which is the proxy's part."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begins = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder(subject, subject, ehr.KEY.public_key(), 1, begins, begins)
    return made.sign(ehr.KEY, hashes.SHA384())


ITS = certificate()
DER, PEM = (ITS.public_bytes(kind) for kind in (Encoding.DER, Encoding.PEM))
DIGEST = sha256(DER).hexdigest()
COLONS = ":".join(DIGEST[i : i + 2].upper() for i in range(0, 64, 2))
WRITTEN = {
    "rfc9440": f":{b64encode(DER).decode()}:",
    "nginx-escaped": quote(PEM),
    "pem-without-lines": quote(PEM.decode().replace("\n", " ")),
    "hex": DIGEST,
    "openssl": COLONS,
}


def check(header: str, address: str | None = PROXY, listed: str = DIGEST, **more: str) -> None:
    mutual_tls = MutualTlsSettings(proxies=["10.1.2.0/24", "fd00::/8"])
    tenant = ehr.tenant(client_certificates=[listed])
    ClientCertificates(mutual_tls).check(tenant, address, {"Client-Cert": header, **more}.get)


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("listed", [DIGEST, COLONS], ids=["hex", "colons"])
def test_every_way_of_writing_a_certificate_names_the_same_one(how: str, listed: str) -> None:
    assert certificate_name(WRITTEN[how]) == DIGEST
    check(WRITTEN[how], listed=listed)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"])
def test_a_listed_proxy_is_believed(address: str) -> None:
    check(SUBJECT, address, SUBJECT)


@pytest.mark.parametrize("address", [None, "", "10.1.3.3", "127.0.0.1", "::1", "unix:", "10.1.2"])
def test_nobody_else_is_believed_whatever_the_headers_say(address: str | None) -> None:
    with pytest.raises(InvalidToken):
        check(SUBJECT, address, SUBJECT, **{"X-Forwarded-For": PROXY, "Forwarded": f"for={PROXY}"})


@pytest.mark.parametrize(
    "header",
    [
        "",
        SUBJECT.lower(),
        f"{SUBJECT},{SUBJECT}",
        f"{DIGEST}, {DIGEST}",
        pytest.param(DIGEST[:-1], id="a digit less"),  # the key is new each time: so no name of it
        f":{b64encode(DER)[:-4].decode()}:",
        f":{b64encode(DER).decode()}:, :{b64encode(DER).decode()}:",
        ":::",
        ":A:",
        quote(PEM + PEM),
        quote(certificate("other.example.org").public_bytes(Encoding.PEM)),
        "x" * 20_000,
    ],
)
def test_another_certificate_or_none_is_refused(header: str) -> None:
    for listed in (DIGEST, SUBJECT):
        with pytest.raises(InvalidToken):
            check(header, listed=listed)


def test_without_proxies_no_tenant_can_be_known_by_a_certificate() -> None:
    with pytest.raises(ValueError, match=r"mutual_tls\.proxies"):
        settings(tenants=(ehr.tenant(client_certificates=[SUBJECT]),))


def test_who_lists_none_is_asked_for_none() -> None:
    assert MutualTlsSettings().proxies == ()
    ClientCertificates(MutualTlsSettings()).check(ehr.tenant(), None, {}.get)


def test_a_refused_certificate_burns_no_token_and_is_the_same_401() -> None:
    at = site(
        tenants=(ehr.tenant(client_certificates=[SUBJECT]),),
        mutual_tls={"proxies": ["127.0.0.1/32"]},
    )
    client, token = at.client(), at.ehr.bearer(PATIENT_VIEW)
    body = patient_view()
    missing = client.post(PATIENT_VIEW, json=body)
    refused = client.post(PATIENT_VIEW, json=body, headers=token)
    assert (refused.status_code, refused.get_data()) == (401, missing.get_data())
    assert dict(refused.headers) == dict(missing.headers)
    accepted = client.post(PATIENT_VIEW, json=body, headers=token | {"Client-Cert": SUBJECT})
    assert accepted.status_code == 200
