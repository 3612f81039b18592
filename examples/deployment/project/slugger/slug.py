"""The one thing this package does."""

import re
import unicodedata


def slugify(title: str) -> str:
    """Return the title in lower-case ASCII words joined by hyphens."""
    ascii_only = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return "-".join(re.findall(r"[a-z0-9]+", ascii_only.lower()))
