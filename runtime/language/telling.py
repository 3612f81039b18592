"""The webhooks of a definition: what is wrong with them, and what they come to."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from perdure.actors.instructions.webhook import Webhook
from perdure.runtime.language.definition import Definition, WebhookDefinition
from perdure.runtime.language.findings import Findings
from perdure.runtime.near import quoted

SCHEMES: Final = frozenset({"http", "https"})


def check_webhooks(definition: Definition, findings: Findings) -> None:
    """Add what nobody could be called by."""
    for no, webhook in enumerate(definition.config.webhooks):
        if not _is_address(webhook.url):
            findings.add(
                ("config", "webhooks", no, "url"),
                f"{quoted(webhook.url)} is no address to be called",
                expected="one that begins with http:// or https://",
            )


def compile_webhooks(webhooks: tuple[WebhookDefinition, ...]) -> tuple[Webhook, ...]:
    """Webhooks as the machine has them."""
    return tuple(
        Webhook(url=each.url, events=frozenset(each.events), secret=each.secret) for each in webhooks
    )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
