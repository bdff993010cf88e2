"""For tests that need a browser: skip where there is none, and in CI fail."""

from __future__ import annotations

import os

import pytest
from lab_browser import find_chromium


def require_chromium() -> None:
    """Skip, and say so, where no browser is installed; in CI fail, so that nobody is deceived."""
    if find_chromium() is not None:
        return
    reason = "no Chromium on this machine: install one, or set CHROMIUM to its path"
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set, so this is a failure)")
    pytest.skip(reason)
