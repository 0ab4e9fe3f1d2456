"""The settings of the operations page."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from cds_service.settings.parts import Part

SHORTEST_SECRET = 20
"""Characters: what is longer is not found by trying."""


class OpsSettings(Part):
    """Who may see ``/ops``, and how much it shows; there is no such page without a secret."""

    secret: SecretStr = SecretStr("")
    """The password of the page (basic authentication, any user name), or its bearer token; 20
    characters or more. Empty: ``/ops`` answers 404. Use another one
    than `web.operator_token`: this one may also put work back into the queue."""

    studies: int = Field(default=50, ge=1, le=500)
    """The most studies that each list shows."""

    refresh_s: int = Field(default=10, ge=0, le=3600)
    """How often an open page looks again by itself; 0 leaves that to the reader."""

    failures_per_minute: int = Field(default=10, ge=1, le=600)
    """Wrong secrets taken from one address in a minute; above it, that address waits."""

    @model_validator(mode="after")
    def secret_is_long(self) -> Self:
        """A page that can start work is not behind a short word."""
        if 0 < len(self.secret.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"secret has fewer than {SHORTEST_SECRET} characters")
        return self
