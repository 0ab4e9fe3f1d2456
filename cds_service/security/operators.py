"""What only who runs the service may read: counts and states that name tenants."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from flask import Blueprint, request

from cds_service.security.errors import InvalidToken, Refusal


@dataclass(frozen=True)
class Operator:
    """Knows an operator by a bearer token; with an empty one everybody is taken for one."""

    token: str = field(repr=False)

    def admitted(self) -> bool:
        """Whether the present request comes from an operator."""
        given = request.headers.get("Authorization", "").encode()
        return not self.token or hmac.compare_digest(given, f"Bearer {self.token}".encode())

    def only(self, blueprint: Blueprint) -> Blueprint:
        """The blueprint, whose routes answer 401 to everybody else."""

        @blueprint.before_request
        def check() -> None:
            if not self.admitted():
                raise InvalidToken(Refusal.OPERATOR)

        return blueprint
