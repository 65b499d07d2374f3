"""The report of a distillation: what was chosen of a pool, why, and what it is worth."""

from __future__ import annotations

from athanor.distil import Distillation


def distilled_report(found: Distillation) -> str:
    """Return the page about a distillation, finished or not.

    Raises
    ------
    FormatError : an artefact is damaged.
    """
    from athanor.report.distilled.gather import content_of
    from athanor.report.distilled.page import render

    return render(content_of(found))
