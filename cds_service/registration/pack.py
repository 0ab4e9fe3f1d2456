"""One folder with everything that a vendor asks for: whole or not at all, the same bytes again."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cds_service.card_files import CARD, CardShelf
from cds_service.registration import facts, plan, text, vendors
from cds_service.registration.errors import PackInTheWay
from cds_service.registration.facts import Subject
from cds_service.registration.pictures import Pictures
from cds_service.registration.vendors import Vendor

MANIFEST = "manifest.json"
FORMAT = "scanhook registration pack 1"

ABOUT: Mapping[str, str] = {
    "README.md": "this page",
    "services.md": "services, hooks, prefetch and the reason of each",
    "access.md": "scopes with reasons, clients, keys",
    "operation.md": "network, retention, time",
    "vendor.md": "this vendor's form, filled in; differences; what is not known",
    "test-plan.md": "what to try, and the cards to expect",
    "models.md": "the models in use; their cards are in models/",
    "discovery.json": "the answer of our discovery address",
    "services.json": "services.md, for machines",
    "scopes.json": "the scopes, for machines",
    "jwks.json": "our public keys",
    "backend-client.json": "client registration of the workers (RFC 7591)",
    "launch-client.json": "client registration of the page (RFC 7591)",
    "operation.json": "operation.md, for machines",
    "vendor.json": "vendor.md, for machines",
    "models.json": "models.md, for machines",
    "card.json": "a card, as it is answered",
    MANIFEST: "the files with their SHA-256, and notes",
}


def pack(about: Subject, vendor: Vendor, made: Pictures) -> dict[str, bytes]:
    """The files of a pack by name. No clock is asked: the same settings give the same bytes."""
    files = {name: _json(value) for name, value in _values(about, vendor, made).items()}
    files |= {name: f"{said}\n".encode() for name, said in _texts(about, vendor).items()}
    files |= {f"screenshots/{name}": png for name, png in made.files.items()}
    files |= dict(_cards(about))
    files["README.md"] = _readme(about, vendor, sorted(files), made.missing).encode()
    notes = [f"screenshots were not made: {made.missing}"] if made.missing else []
    listed = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    stated = {"format": FORMAT, "vendor": vendor, "tenant": about.tenant.name}
    files[MANIFEST] = _json(
        {**stated, "scanhook": version("scanhook"), "notes": notes, "files": listed}
    )
    return files


def _values(about: Subject, vendor: Vendor, made: Pictures) -> dict[str, Any]:
    values = {
        "discovery.json": facts.discovered(about),
        "services.json": facts.services(about),
        "scopes.json": facts.scopes(about),
        "jwks.json": facts.key_set(about),
        "backend-client.json": facts.backend_client(about),
        "launch-client.json": facts.launch_client(about),
        "operation.json": {
            "network": facts.network(about),
            "retention": facts.retention(about),
            "time": facts.timing(about),
        },
        "vendor.json": vendors.as_values(vendors.sheet(vendor, about)),
        "models.json": facts.models(about),
    }
    return values | ({"card.json": made.card} if made.card else {})


def _texts(about: Subject, vendor: Vendor) -> dict[str, str]:
    return {
        "services.md": text.services(facts.services(about)),
        "access.md": text.access(about, facts.scopes(about)),
        "operation.md": text.operation(
            facts.network(about), facts.retention(about), facts.timing(about), about
        ),
        "vendor.md": text.vendor(vendors.sheet(vendor, about)),
        "test-plan.md": text.plan(plan.steps(about), plan.expected_cards()),
        "models.md": text.models(facts.models(about)),
    }


def _cards(about: Subject) -> dict[str, bytes]:
    """Each model's card in its forms, and its plots, verified as when they are served."""
    shelf, files = CardShelf(about.site.registry), {}
    for manifest in (package.manifest for package in about.site.registry.packages):
        folder = f"models/{manifest.id}-{manifest.version}"
        files[f"{folder}/{CARD}"] = (shelf.text(manifest.id, manifest.version) or "").encode()
        for name in shelf.files(manifest.id, manifest.version):
            found = shelf.file(manifest.id, manifest.version, name)
            if found is not None:
                files[f"{folder}/{name}"] = found.content
    return files


def _readme(about: Subject, vendor: Vendor, names: list[str], missing: str) -> str:
    title = vendors.sheet(vendor, about).title
    rows = [
        {"file": f"[{name}]({name})", "what": ABOUT[name]}
        for name in (*names, MANIFEST)
        if name in ABOUT
    ]
    shown = [name for name in names if name.startswith("screenshots/")]
    pictures = "\n\n".join(f"![{name}]({name})" for name in shown)
    return (
        "\n\n".join(
            (
                f"# {text.line(about.settings.organisation)}: imaging AI, to register",
                f"For: {title}. Tenant: {about.tenant.name}. Made by `scanhook register` from the"
                " settings of the site; change those, and make it again.",
                text.table(rows, ("file", "what")),
                "## Pictures",
                pictures or f"None were made. {text.line(missing)}",
            )
        )
        + "\n"
    )


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def write_pack(files: Mapping[str, bytes], out: Path, *, force: bool = False) -> None:
    """Write the folder `out`, all of it or nothing; `force` replaces an older pack.

    Raises:
        PackInTheWay: there is something else at `out`, or an older pack and no `force`.
        OSError: it cannot be written; what was there is there.
    """
    out = out.resolve()
    if out.exists() and not (force and _is_pack(out)):
        kind = "a pack there; --force replaces it" if _is_pack(out) else "something else there"
        raise PackInTheWay(f"{out}: there is {kind}")
    out.parent.mkdir(parents=True, exist_ok=True)
    building = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    try:
        for name, content in files.items():
            target = building / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        _put(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put(building: Path, out: Path) -> None:
    older = out.with_name(f"{building.name}.old")
    if out.exists():
        out.rename(older)
    try:
        building.rename(out)
    except OSError:
        if older.exists():
            older.rename(out)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _is_pack(folder: Path) -> bool:
    try:
        stated = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(stated, dict) and stated.get("format") == FORMAT
