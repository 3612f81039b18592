"""The webhooks of a definition: what is wrong with them, and what they come to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec

from perdure.actors.instructions.webhook import Webhook
from perdure.runtime.arguments import InvalidArgument
from perdure.runtime.language.definition import WEBHOOKS_MAX, Definition, WebhookDefinition
from perdure.runtime.language.findings import Findings
from perdure.runtime.near import quoted

Webhooks = Annotated[tuple[WebhookDefinition, ...], msgspec.Meta(max_length=WEBHOOKS_MAX)]
SCHEMES: Final = frozenset({"http", "https"})
UNSENDABLE: Final = re.compile(r"[\x00-\x20\x7f]")  # what no request may have in its first line
ADDRESS: Final = (
    "http:// or https://, has no user or password in it (sign the calls with `secret`), "
    "and spaces and what is not ASCII written as %20 and the like"
)
VARIABLE: Final = re.compile(r"(?!whsec_)[A-Za-z_][A-Za-z0-9_]{0,255}")
NO_VARIABLE: Final = (  # without what was given instead: that may be the key
    "this is not the name of an environment variable: put the key into one, and its name here"
)


def check_webhooks(definition: Definition, findings: Findings) -> None:
    """Add what nobody could be called by."""
    for no, webhook in enumerate(definition.config.webhooks):
        if not _is_address(webhook.url):
            findings.add(
                ("config", "webhooks", no, "url"),
                f"{quoted(webhook.url)} is no address to be called",
                expected=f"one that begins with {ADDRESS}",
            )
        if not _is_variable(webhook.secret):
            findings.add(("config", "webhooks", no, "secret"), NO_VARIABLE)


def read_webhooks(given: Iterable[Mapping[str, Any]]) -> tuple[Webhook, ...]:
    """The webhooks of a whole runtime, given as those of a workflow are. Raises InvalidArgument."""
    try:
        webhooks = msgspec.convert(list(given), Webhooks)
    except (msgspec.ValidationError, TypeError, UnicodeError) as error:
        raise InvalidArgument(f"webhooks: {error}") from None
    for each in webhooks:
        if not _is_address(each.url):
            raise InvalidArgument(f"webhooks: {quoted(each.url)} is no address: it begins with {ADDRESS}")
        if not _is_variable(each.secret):
            raise InvalidArgument(f"webhooks: secret: {NO_VARIABLE}")
    return compile_webhooks(webhooks)


def compile_webhooks(webhooks: tuple[WebhookDefinition, ...]) -> tuple[Webhook, ...]:
    """Webhooks as the machine has them."""
    return tuple(
        Webhook(url=each.url, events=frozenset(each.events), secret=each.secret) for each in webhooks
    )


def _is_variable(secret: str | None) -> bool:
    return secret is None or VARIABLE.fullmatch(secret) is not None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_reachable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return (
        is_reachable
        and parts.username is None
        and not UNSENDABLE.search(url)
        and (parts.path + parts.query).isascii()
    )
