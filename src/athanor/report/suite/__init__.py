"""The page of a suite: properties of many potentials side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def render_suite(summary: Mapping[str, Any], *, where: str | Path = "suite.json") -> str:
    """Return the page about what a suite wrote as JSON into the file `where`.

    Raises
    ------
    FormatError : it is no such summary.
    """
    # matplotlib and jinja2 take a second to import, which only a report should cost
    from athanor.report.suite.content import SuiteStory
    from athanor.report.suite.page import render

    return render(SuiteStory.read(summary, where=where))
