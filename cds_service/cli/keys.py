"""``scanhook keys``: make and show keys and secrets."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from cds_service.security.keyring import LEAD_S, DatedKey, load_key_ring
from cds_service.security.keys import (
    OPEN_TO_OTHERS,
    generate_signing_key,
    public_jwks,
    read_by_others,
)
from cds_service.security.rotation import Rotated, rotate

ALGORITHMS = click.Choice(["ES384", "RS384"])
KEY_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(name="keys")
def command() -> None:
    """Make and show keys and secrets."""


@command.command("new-secret")
def new_secret() -> None:
    """Print a site secret: it seals what waits in the queue, and signs links."""
    click.echo(secrets.token_urlsafe(48))


@command.command("new")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--algorithm", type=ALGORITHMS, default="ES384")
def new(path: Path, algorithm: str) -> None:
    """Make a private key for SMART Backend Services at PATH (mode 600; never overwritten)."""
    if path.exists():
        raise click.UsageError(f"{path} is there already; a key is never overwritten")
    generate_signing_key(path, algorithm)
    click.echo(f"{path} written; register the output of `scanhook keys jwks {path}`")


@command.command("jwks")
@click.argument("paths", type=KEY_FILE, nargs=-1, required=True)
def jwks(paths: tuple[Path, ...]) -> None:
    """Print the public JWK set of private keys: what the EHR registers."""
    now_s = time.time()
    keys = [key for path in paths for key in load_key_ring(path).published(now_s)]
    click.echo(json.dumps(public_jwks(keys), indent=2))


@command.command("show")
@click.argument("path", type=KEY_FILE)
def show(path: Path) -> None:
    """Say of each key of PATH whether it signs, waits or ends; nothing of it that is secret."""
    ring, now_s = load_key_ring(path), time.time()
    signing = ring.signing(now_s)
    for dated in ring.keys:
        said = _standing(dated, now_s, signs=dated.key is signing)
        click.echo(f"{dated.key.kid}  {dated.key.algorithm}  {said}")
    if read_by_others(path):
        click.echo(f"warning: {path} {OPEN_TO_OTHERS}", err=True)


@command.command("rotate")
@click.argument("path", type=KEY_FILE)
@click.option("--algorithm", type=ALGORITHMS, help="Of the new key; by default as before.")
@click.option(
    "--lead-s",
    type=click.IntRange(min=0),
    default=LEAD_S,
    show_default=True,
    help="Seconds for which the new key is published before it signs.",
)
@click.option("--at-once", is_flag=True, help="The present key may be in other hands: end it now.")
def rotate_keys(path: Path, algorithm: str | None, lead_s: int, at_once: bool) -> None:
    """Put a new key into PATH: it is published now, signs later, and then follows the present one.

    Running processes read the file again by themselves.
    """
    done = rotate(path, time.time(), algorithm=algorithm or "", lead_s=lead_s, at_once=at_once)
    for line in _told(done, path):
        click.echo(line)


def _told(done: Rotated, path: Path) -> list[str]:
    if not done.signs_from_s:
        lines = [f"{done.kid} signs now, and no other key of the file is published any more"]
        by = "now: until then the EHR accepts nothing that we sign"
    else:
        lines = [f"{done.kid} is published now and signs from {_time(done.signs_from_s)}"]
        by = "before that"
    lines.append(
        f"an EHR that holds a copy of our keys, and not their URL, needs the output of"
        f" `scanhook keys jwks {path}` {by}"
    )
    if done.read_by_others:
        lines.append(f"{path} {OPEN_TO_OTHERS}")
    return lines


def _standing(dated: DatedKey, now_s: float, *, signs: bool) -> str:
    until_s = dated.published_until_s
    if not dated.published(now_s):
        return "is published no more; the next rotation removes it"
    if signs:
        return f"signs, is published until {_time(until_s)}" if until_s else "signs"
    if dated.signs_from_s > now_s:
        return f"is published, signs from {_time(dated.signs_from_s)}"
    return f"has signed, is published until {_time(until_s)}" if until_s else "is published"


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
