"""Make the contest's modules importable; keep pytest's doctests out of the contestants."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

# Contestants import what the project does not have (numpyro), and do nothing but run.
collect_ignore = ["peers", *(p.name for p in HERE.glob("*.py") if not p.match("test_*.py"))]
