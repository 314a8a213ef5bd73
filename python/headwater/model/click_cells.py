"""Clicks as the core tells of them, and summed up by what tells them apart in reports."""

from __future__ import annotations

from headwater._core import ClickCells, ClickRows, SubIds, click_origin

__all__ = ["ClickCells", "ClickRows", "SubIds", "click_origin"]
