"""What the case tests share: the tables and the agents beside them are modules."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for the tables, which are programs of their own
