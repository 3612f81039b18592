"""An environment of its own for each engine, made once, with the network and, for one of them, Node."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable

from benchmarks.peers.registry import Peer

MADE = "made.txt"  # in the environment's folder: what was installed when it was made


def make(peers: Iterable[Peer]) -> None:
    """Make what is missing or was made for other versions. Raises CalledProcessError."""
    for peer in peers:
        wanted = "\n".join((*peer.requirements, peer.node_package or ""))
        made = peer.folder / MADE
        if made.exists() and made.read_text() == wanted:
            continue
        if peer.node_package is not None and shutil.which("npm") is None:
            print(f"{peer.name}: skipped, its server comes from npm, which is not here")
            continue
        print(f"{peer.name}: installing into {peer.folder}", flush=True)
        subprocess.run(["bash", ".ci/venv", str(peer.folder)], check=True)
        pip = [str(peer.folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *peer.requirements], check=True)
        if peer.node_package is not None:
            npm = ["npm", "install", "--silent", "--no-save", "--prefix", str(peer.folder)]
            subprocess.run([*npm, peer.node_package], check=True)
        made.write_text(wanted)
