"""Addresses that are given on the command line."""

from __future__ import annotations

from urllib.parse import urlsplit

import click


def base_address(url: str) -> str:
    """The base address of a service: no query, no user, no slash at its end.

    Raises:
        click.UsageError: it is none.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise click.UsageError("an address is http://... or https://..., without user or query")
    return url.rstrip("/").removesuffix("/cds-services").rstrip("/")
