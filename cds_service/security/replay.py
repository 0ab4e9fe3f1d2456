"""A token is good once (``jti``): who copies a call cannot repeat it.

One atomic ``SET NX EX`` in Redis, so that it holds over all processes. When Redis cannot be asked
the question stays open, and callers must treat the token as used.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from redis.exceptions import RedisError

from cds_service.security.errors import InvalidToken, Refusal, ReplayUnknown
from cds_service.security.jwt import LEEWAY_S, Caller

PREFIX = "cds:jti:"


class SetOnce(Protocol):
    """The one command of Redis that is needed."""

    def set(self, name: str, value: str, *, nx: bool, ex: int) -> Any:
        """Truthy if `name` was not there."""


@dataclass(frozen=True)
class UsedTokens:
    """Remembers each token until it has expired; `clock` is epoch seconds."""

    redis: SetOnce
    clock: Callable[[], float]

    def use(self, caller: Caller) -> None:
        """Mark the caller's token as used.

        Raises:
            InvalidToken: it was used before.
            ReplayUnknown: Redis did not answer.
        """
        # hashed: both parts are chosen by the caller, and neither bounds nor characters are ours
        text = json.dumps([caller.tenant.issuer, caller.token_id]).encode()
        name = PREFIX + hashlib.sha256(text).hexdigest()
        keep_s = max(1, math.ceil(caller.expires_s - self.clock()) + LEEWAY_S + 1)
        try:
            fresh = self.redis.set(name, "1", nx=True, ex=keep_s)
        except (RedisError, OSError):
            raise ReplayUnknown("It cannot be told whether the token was used before.") from None
        if not fresh:
            raise InvalidToken(Refusal.REPLAYED)
