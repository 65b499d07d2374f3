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
    from athanor.suite.folder import is_suite, read_summary
    from athanor.suite.runner import SUMMARY

    if is_suite(folder):
        from athanor.report.suite import render_suite

        return render_suite(read_summary(folder), where=folder / SUMMARY)
    if (found := distillation(folder)) is not None:
        from athanor.report.distilled import distilled_report

        return distilled_report(found)
    from athanor.report.gather import content_of
    from athanor.report.page import render

    return render(content_of(folder))
