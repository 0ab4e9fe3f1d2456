"""The documents of a pack as Markdown: tables of the same values that the JSON files hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cds_service.registration import facts
from cds_service.registration.facts import Json, Subject
from cds_service.registration.plan import ExpectedCard, Step
from cds_service.registration.vendors import VendorSheet


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as a Markdown table; a bar or a line's end in a value cannot end its cell.

    Without rows, that there are none.
    """
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines = [f"| {' | '.join(line(row.get(column)) for column in columns)} |" for row in rows]
    return "\n".join([*head, *lines]) if lines else "None."


def line(value: Any) -> str:
    """A value on one line, without a bar or a tag."""
    if value is None:
        return "not ours to say"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return " ".join(text.replace("|", "\\|").split()).replace("<", "&lt;")


def services(rows: Sequence[Json]) -> str:
    """services.md."""
    parts = ["# Services", table(rows, ("hook", "id", "url", "feedback_url"))]
    for row in rows:
        parts += [f"## {row['title']}", line(row["description"])]
        parts += [line(row["usageRequirements"])]
        parts.append(table(row["prefetch"], ("key", "template", "reason")))
    return "\n\n".join(parts)


def access(about: Subject, scopes: Json) -> str:
    """access.md."""
    parts = [
        "# Access",
        "`scope` is SMART version 2; `scope_v1` is the same for servers of version 1, where"
        " `.write` may be more than is asked for.",
    ]
    for who, rows in scopes.items():
        columns = ("scope", "scope_v1", "reason")
        parts += [f"## {who[0].upper()}{who[1:]}", table(rows, columns)]
    granted = "A server may grant less: then the features that need the rest are off, and said so."
    parts += [granted, "## Clients", *_clients(about)]
    return "\n\n".join(parts)


def _clients(about: Subject) -> list[str]:
    keys = facts.key_set(about)["keys"]
    lines = [
        "`backend-client.json` is the workers' registration, `launch-client.json` the page's"
        " (RFC 7591). Our public keys are at the `jwks_uri`; `jwks.json` is a copy of today, for"
        " a form that takes no address."
    ]
    if not keys:
        lines.append(
            "There is no key of ours for this EHR yet: `scanhook keys new PATH`, and name PATH as"
            " `signing_key_file` of the tenant."
        )
    if about.tenant.backend != "smart":
        lines.append(f"The workers do not use it yet: `backend` is `{about.tenant.backend}`.")
    if not about.tenant.smart_app:
        lines.append(
            "The page is launched from no chart yet: put the client id that you get into"
            " `smart_app.client_id` of the tenant."
        )
    return lines


def operation(net: Json, kept: Sequence[Json], bounds: Sequence[Json], about: Subject) -> str:
    """operation.md: network, retention and time."""
    longest_s = facts.longest_wait_s(about.settings)
    return "\n\n".join(
        (
            "# Network, retention, time",
            "## Network",
            table(net["inbound"], ("from", "to", "port", "for")),
            table(net["outbound"], ("to", "port", "scheme", "for")),
            *_notifications(net["notifications"]),
            "\n".join(f"- {rule}" for rule in net["rules"]),
            "## Retention",
            table(kept, ("what", "where", "for_s")),
            "`for_s` is in seconds; 0 is not kept.",
            "## Time",
            f"An answer waits for others {longest_s} s at the most: the sum of the first four rows,"
            f" the queue asked {facts.QUEUE_QUESTIONS} times. What a call started goes on when the"
            " EHR has given the call up, and the next call shows it.",
            table(bounds, ("what", "seconds", "then")),
        )
    )


def _notifications(rows: Sequence[Json]) -> list[str]:
    if not rows:
        return []
    told = "Notifications come from the EHR, too; their secret is in the Subscription's header."
    return [told, table(rows, ("about", "url"))]


def vendor(found: VendorSheet) -> str:
    """vendor.md."""
    return "\n\n".join(
        (
            f"# {found.title}",
            "Known from what is public; each row says from where. Where the vendor says otherwise,"
            " the vendor is right.",
            "## Fields",
            table([vars(field) for field in found.fields], ("name", "value", "source")),
            "## What is different here",
            table([vars(each) for each in found.differences], ("fact", "here", "source")),
            "## Not known: ask",
            "\n".join(f"- {each}" for each in found.unknown),
        )
    )


def plan(steps: Sequence[Step], cards: Sequence[ExpectedCard]) -> str:
    """test-plan.md."""
    numbered = [{"step": n, **vars(step)} for n, step in enumerate(steps, start=1)]
    return "\n\n".join(
        (
            "# Test plan",
            table(numbered, ("step", "do", "see")),
            "## Expected cards",
            "`scanhook sandbox` has these studies, invented or free; any EHR's test patients will"
            " do for the steps above. More than one outcome is right where a research model may be"
            " unsure.",
            table([vars(c) for c in cards], ("study", "shows", "outcomes", "labels", "cards")),
        )
    )


def models(rows: Sequence[Json]) -> str:
    """models.md."""
    columns = ("id", "version", "title", "stage", "modalities", "body_parts", "intended_use")
    return "\n\n".join(("# Models", table(rows, columns), "The cards lie beside, in `models/`."))
