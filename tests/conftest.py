"""Fixtures for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

REFERENCE = Path(__file__).resolve().parent.parent.parent / "shared" / "reference"


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference numbers beside the checkout; skips where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"reference data are not here (looked for {REFERENCE})")
    return REFERENCE
