"""What a ledger says was answered, asked in a round trip of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError

from cds_service.feedback import CardLedger


def answers(
    redis: Any, ledger: CardLedger, studies: Sequence[str]
) -> Mapping[str, Mapping[str, str]]:
    """Outcome by claim by study; nothing while Redis is away."""
    try:
        with redis.pipeline(transaction=False) as pipeline:
            ledger.ask(pipeline, studies)
            return ledger.told(studies, pipeline.execute())
    except RedisError:
        return {}
