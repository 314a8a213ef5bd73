"""Fixtures for every suite."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# The tools the suites share are modules of this folder.
sys.path.insert(0, str(Path(__file__).parent))

from headwater import _core

# A machine that is busy is no fault of what runs on it.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

if not hasattr(_core, "signals"):
    import signal_tools

    _core.signals = signal_tools.table
