"""``scanhook keys``: make and show keys and secrets."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import click

from cds_service.security.keys import generate_signing_key, load_signing_key, public_jwks


@click.group(name="keys")
def command() -> None:
    """Make and show keys and secrets."""


@command.command("new-secret")
def new_secret() -> None:
    """Print a site secret: it seals what waits in the queue, and signs links."""
    click.echo(secrets.token_urlsafe(48))


@command.command("new")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--algorithm", type=click.Choice(["ES384", "RS384"]), default="ES384")
def new(path: Path, algorithm: str) -> None:
    """Make a private key for SMART Backend Services at PATH (mode 600; never overwritten)."""
    if path.exists():
        raise click.UsageError(f"{path} is there already; a key is never overwritten")
    generate_signing_key(path, algorithm)
    click.echo(f"{path} written; register the output of `scanhook keys jwks {path}`")


@command.command("jwks")
@click.argument("paths", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
def jwks(paths: tuple[Path, ...]) -> None:
    """Print the public JWK set of private keys: what the EHR registers."""
    click.echo(json.dumps(public_jwks([load_signing_key(path) for path in paths]), indent=2))
