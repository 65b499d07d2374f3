"""What a running campaign shows: a board on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from athanor.campaign.progress import Progress
from athanor.cli.progress import SECONDS_BETWEEN_LINES, duration

Show = Callable[[Progress], None]

PHASES = {
    "start": "drawing starting structures",
    "selfcheck": "checking the oracle's units and signs",
    "sample": "sampling",
    "select": "selecting",
    "label": "labelling",
    "fit": "fitting",
    "validate": "validating",
    "gate": "judging at the regression gate",
    "pool": "the pool",
    "describe": "describing structures",
    "distances": "comparing Coulomb matrices",
    "similarity": "similarity",
    "partition": "clustering",
    "map": "drawing the map",
    "draw": "choosing structures",
    "propose": "choosing hyperparameters",
    "trial": "fitting trials",
    "test": "testing on held-out structures",
    "compare": "comparing ways of choosing",
    "measure": "measuring",
    "idle": "planning",
    "done": "done",
}
"""What people call the phases."""
BLOCKS = "▁▂▃▄▅▆▇█"


@contextmanager
def display(name: str) -> Iterator[Show]:
    """Yield the callback for `campaign.runner.run`; the board goes when the block ends."""
    if sys.stdout.isatty():
        with _board(name) as show:
            yield show
    else:
        yield _lines()


@contextmanager
def _board(name: str) -> Iterator[Show]:
    from rich.live import Live

    with Live(refresh_per_second=4, transient=True) as live:
        yield lambda moment: live.update(board(name, moment))


def board(name: str, moment: Progress) -> Any:
    """The board of one moment as something rich can print."""
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_row("now", Text(doing(moment)))
    if moment.planned:
        bar = ProgressBar(total=moment.planned, completed=moment.done, width=40)
        grid.add_row("", bar)
    for title, sentence in facts(moment):
        grid.add_row(title, Text(sentence))
    turn = "" if moment.phase == "measure" else f" · cycle {moment.cycle}"
    heading = Text(f" {name}{turn} ", style="bold")
    return Panel(grid, title=heading, title_align="left", border_style="dark_orange3", width=88)


def doing(moment: Progress) -> str:
    """The phase, how far it is, and what is at work."""
    text = PHASES.get(moment.phase, moment.phase)
    if moment.planned:
        text += f", {moment.done} of {moment.planned} done"
    return f"{text}: {moment.detail}" if moment.detail else text


def facts(moment: Progress) -> list[tuple[str, str]]:
    """The other lines of the board: (title, sentence)."""
    rows = [("survival", survival(moment))] if moment.survival[1] else []
    buys = moment.phase != "measure" and moment.errors is None
    if moment.labels or moment.survival[1] or buys:
        rows.append(("labels", labels(moment)))
    if moment.errors is not None:
        rows.append(("errors", f"{errors(moment)} on {moment.errors_on}"))
    rows.append(("time", clock(moment)))
    return rows


def clock(moment: Progress) -> str:
    """Elapsed and expected time; how long measuring at the end takes is not known."""
    elapsed = f"{duration(moment.elapsed_s)} elapsed"
    if moment.remaining_s is None or moment.phase == "validate":
        return elapsed
    return f"{elapsed}, at most {duration(moment.remaining_s)} left"


def survival(moment: Progress) -> str:
    """How long the trajectories of the latest sampled cycle lived."""
    cycle, shares = moment.survival
    whole = sum(share >= 1 for share in shares)
    bars = "".join(BLOCKS[min(int(share * 8), 7)] for share in shares)
    mean = 100 * sum(shares) / len(shares)
    done = f"{whole} of {len(shares)} ran their full schedule"
    return f"{bars} {done} in cycle {cycle} (mean {mean:.0f} %)"


def labels(moment: Progress) -> str:
    """Labels bought, of how many, and how many failed."""
    text = f"{moment.labels} bought"
    if moment.max_labels is not None:
        text = f"{moment.labels} of {moment.max_labels} bought"
    return text + (f", {moment.failed_labels} failed" if moment.failed_labels else "")


def errors(moment: Progress) -> str:
    """RMSE of energy and forces on the newest labels."""
    found = moment.errors or {}
    energy, force = found.get("energy_rmse"), found.get("forces_rmse")
    # where energies are fine it is labels that are not there
    missing = "forces not finite" if energy is None else "no forces"
    parts = [
        "energy not finite" if energy is None else f"{1000 * energy:.1f} meV/atom",
        (missing if force is None else f"{1000 * force:.0f} meV/Å"),
    ]
    return ", ".join(parts)


def _lines() -> Show:
    """Print a line when a phase ends, and every ten seconds while one lasts."""
    last: tuple[int, str] | None = None
    said = time.monotonic()

    def show(moment: Progress) -> None:
        nonlocal last, said
        key = (moment.cycle, moment.phase)
        ended = moment.done == moment.planned and moment.planned > 0 and key != last
        due = time.monotonic() - said >= SECONDS_BETWEEN_LINES and moment.planned > moment.done
        if ended or due:
            last = key if ended else last
            said = time.monotonic()
            print(line(moment), flush=True)

    return show


def line(moment: Progress) -> str:
    """One moment in one line, with the fact that its phase is about."""
    fact = ""
    if moment.phase == "sample" and moment.survival[0] == moment.cycle:
        fact = f"; {survival(moment)}"
    elif moment.phase == "label":
        fact = f"; labels {labels(moment)}"
    elif (moment.phase == "fit" and moment.errors is not None) or (
        moment.phase == "trial" and moment.errors is not None
    ):
        fact = f"; {errors(moment)} on {moment.errors_on}"
    turn = "" if moment.phase == "measure" else f"cycle {moment.cycle}, "
    return f"[{clock(moment)}] {turn}{doing(moment)}{fact}"
