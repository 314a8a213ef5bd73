"""Clicks summed up by what tells them apart in reports, by the core."""

from __future__ import annotations

from headwater._core import ClickCells, click_origin

__all__ = ["ClickCells", "click_origin"]
