"""The command line: `slugger TITLE`, `slugger --version`."""

import sys
from importlib.resources import files

from slugger.slug import slugify


def main() -> None:
    """Print the slug of the title, or the version."""
    title = " ".join(sys.argv[1:])
    if title == "--version":
        print((files("slugger") / "VERSION").read_text(encoding="utf-8").strip())
        return
    print(slugify(title))


if __name__ == "__main__":
    main()
