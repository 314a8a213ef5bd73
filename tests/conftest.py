"""Fixtures for every suite."""

from __future__ import annotations

import sys
from pathlib import Path

# The tools the suites share are modules of this folder.
sys.path.insert(0, str(Path(__file__).parent))

from headwater import _core

if not hasattr(_core, "signals"):
    import signal_tools

    _core.signals = signal_tools.table
