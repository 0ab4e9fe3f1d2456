"""What a card says, claim by claim: one version of a model says something of exactly these images.

A claim is what a clinician answers. It outlives the card: another card that makes no other claim is
the same to whoever has answered, and a new version or a new image makes another claim.
"""

from __future__ import annotations

import json
from typing import Any

Card = dict[str, Any]

EXTENSION = "org.scanhook.result"
"""Key of the machine-readable state in ``card.extension``; reverse DNS as CDS Hooks asks."""

NO_MODEL = ("none", "none")
"""Stands for model and version where a card states no answer of any."""

_DIGITS = 16  # of a digest, enough to tell the images of one study apart


def claims_of(card: Card) -> dict[str, tuple[str, str]]:
    """What a card says, claim by claim, each with the model and version that it is from.

    One claim for each model that states a finding on these images, or, where none does, for each
    that answered. A card without any answer claims only itself.
    """
    said = stated_on(card)
    models = [(each["model"], each["version"]) for each in said.get("models", ())]
    claims = {claim_of(*model, said.get("images", "")): model for model in models}
    return claims or {card["uuid"]: NO_MODEL}


def stated_on(card: Card) -> dict[str, Any]:
    """What a card says to programs."""
    stated: dict[str, Any] = card["extension"][EXTENSION]
    return stated


def claim_of(model_id: str, version: str, instance_digest: str) -> str:
    """The claim of a model about exactly these images, by the digest of what was read."""
    return json.dumps([model_id, version, images_of(instance_digest)])


def images_of(instance_digest: str) -> str:
    """Names the images that were read, to tell them from those of a study that has grown."""
    return instance_digest[:_DIGITS]
