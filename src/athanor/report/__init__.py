"""The report: one HTML page about a campaign, finished or not, that opens offline."""

from __future__ import annotations

from pathlib import Path


def report_of(folder: Path) -> str:
    """Return the page about the campaign in `folder`.

    Raises
    ------
    FolderError : it is not the folder of a campaign.
    FormatError : its journal or an artefact is damaged.
    """
    # matplotlib and jinja2 take a second to import, which only a report should cost
    from athanor.distil.folder import distillation
    from athanor.suite.runner import SUMMARY

    if (folder / SUMMARY).is_file():
        return _suite_report(folder / SUMMARY)
    if (found := distillation(folder)) is not None:
        from athanor.report.distilled import distilled_report

        return distilled_report(found)
    from athanor.report.gather import content_of
    from athanor.report.page import render

    return render(content_of(folder))


def _suite_report(summary: Path) -> str:
    """The page of what a suite wrote."""
    import json

    from athanor.errors import FormatError
    from athanor.report.suite import render_suite

    try:
        data = json.loads(summary.read_bytes())
    except (OSError, ValueError) as error:
        raise FormatError(summary, None, f"this summary cannot be read ({error})") from None
    return render_suite(data, where=summary)
