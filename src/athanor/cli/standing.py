"""How a campaign stands, as plain data for scripts and as a table for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from athanor.campaign import Campaign, CampaignStatus
from athanor.cli.progress import duration

CONVERGED = "untriggered"
"""The stopping rule that is a success: every trajectory ran its full schedule."""


def standing(folder: Path) -> CampaignStatus:
    """Read how the campaign in `folder` stands; FormatError where there is none."""
    return Campaign(folder).status()


def word(status: CampaignStatus) -> str:
    """Return converged, limit (stopped by one), refused (by the gate), running or unfinished."""
    stopped_by = status.progress.stopped_by
    if stopped_by is not None:
        if status.refused is not None:
            return "refused"
        return "converged" if stopped_by == CONVERGED else "limit"
    return "unfinished" if status.running is None else "running"


def as_dict(status: CampaignStatus) -> dict[str, Any]:
    """Return the status as plain JSON data: eV, Å, seconds; `status` is its `word`."""
    potential = Path(status.folder) / "potential"
    return {
        "status": word(status),
        "potential": str(potential) if potential.is_dir() else None,
        **status.as_dict(),
    }


def show(status: CampaignStatus) -> None:
    """Print the state of a campaign for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    now = status.progress
    name = word(status)
    if name == "limit":
        name = f"stopped by the limit {now.stopped_by}"
    if name == "refused":
        name = f"ended ({now.stopped_by}), its last potential refused"
    console.print(Text.assemble((status.name, "bold"), f": {name}"))
    budget = "" if now.max_labels is None else f" of {now.max_labels}"
    console.print(
        f"cycle {now.cycle}, {now.labels}{budget} labels bought, {now.failed_labels} failed, "
        f"{duration(now.elapsed_s)} of work"
    )
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("cycle", "survived", "offered", "labels", "meV/atom", "meV/Å", "training"):
        grid.add_column(heading, justify="right")
    for cycle in status.cycles:
        errors = cycle.errors or {}
        whole = sum(run.stopped_by == "completed" for run in cycle.trajectories)
        grid.add_row(
            str(cycle.number),
            f"{whole} of {len(cycle.trajectories)}" if cycle.trajectories else "",
            str(cycle.offered) if cycle.trajectories else "",
            str(len(cycle.labels)),
            _milli(errors.get("energy_rmse")),
            _milli(errors.get("forces_rmse")),
            str(cycle.n_train),
        )
    console.print(grid)
    if cycle_errors(status):
        console.print("[dim]errors: RMSE on the cycle's labels before they were trained on[/dim]")
    for text in _gate(status):
        console.print(text, soft_wrap=True)


def _gate(status: CampaignStatus) -> Iterator[Any]:
    """What the regression gate said, a line each."""
    from rich.text import Text

    for one in status.gate:
        yield Text(f"gate: {one.sentence}", style="green" if one.promoted else "bold red")
        for note in one.notes:
            yield Text(f"gate: {note}", style="yellow")


def cycle_errors(status: CampaignStatus) -> bool:
    """Whether any cycle was tested on its new labels."""
    return any(cycle.errors is not None for cycle in status.cycles)


def _milli(value: float | None) -> str:
    return "" if value is None else f"{1000 * value:.1f}"
