"""`athanor validate`: does it behave like the material?"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from athanor.cli.files import JsonOption, SpeciesOption, parse_species
from athanor.cli.progress import counted
from athanor.errors import ValidationFailed

REPORT = "report.html"

PotentialsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]POTENTIAL...",
        help="Potentials, campaign folders, or .toml files with an [oracle].",
    ),
]
SuiteOption = Annotated[Path, typer.Option("--suite", help="What to measure: a file in TOML.")]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="[NAME=]ORACLE",
        help="The reference, likewise; the suite's [oracle] by default.",
    ),
]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Where it goes; SUITE.athanor here by default.")
]
BaselineOption = Annotated[
    Path | None,
    typer.Option("--baseline", help="suite.json of an older potential: nothing may be worse."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; the suite's by default.")
]


def validate(
    potentials: PotentialsArgument,
    *,
    suite: SuiteOption,
    against: AgainstOption = None,
    baseline: BaselineOption = None,
    folder: FolderOption = None,
    workers: WorkersOption = None,
    species: SpeciesOption = None,
    json_: JsonOption = False,
) -> None:
    """Measure physical properties side by side; what was measured before is not measured again."""
    from athanor.suite import run
    from athanor.suite.baseline import read_baseline

    place = Path(f"{suite.stem}.athanor") if folder is None else folder
    config = _config(suite, potentials, against, parse_species(species))
    if workers is not None:
        section = config.campaign.model_copy(update={"workers": workers})
        config = replace(config, campaign=section)
    old = None if baseline is None else read_baseline(baseline)
    if json_:
        found = run(config, place, baseline=old)
        print(json.dumps(found, indent=2, allow_nan=False))
    else:
        from athanor.cli.live import display

        print(f"{config.campaign.name}: measuring in {place}")
        with display(config.campaign.name) as show:
            found = run(config, place, baseline=old, progress=show)
        _show(found)
    _write_report(found, place / REPORT)
    _conclude(found, place)


def show_standing(folder: Path, *, as_json: bool) -> None:
    """Print how a suite stands: the table of its last whole run, and what it does now."""
    from athanor.suite.folder import standing

    found = standing(folder)
    if as_json:
        print(json.dumps(found, indent=2, allow_nan=False))
        return
    summary, process = found["summary"], found["running"]
    word = "unfinished" if summary is None else "measured"
    if process is not None:
        word = f"running as process {process}"
    print(f"{found['name']}: {word}; {counted(found['measured'], 'measurement')} kept")
    if summary is not None:
        _show(summary)


def _config(
    suite: Path, potentials: list[str], against: str | None, species: tuple[str, ...] | None
) -> Any:
    from athanor.suite import Subject, SuiteConfig

    config = SuiteConfig.read(suite)
    subjects = [Subject.open(given, species=species) for given in potentials]
    if against is not None:
        subjects.append(Subject.open(against, species=species, is_reference=True))
    elif config.oracle is not None:
        subjects.append(Subject.of_oracle(config.oracle, name="reference", is_reference=True))
    return config.on(*subjects)


def _show(found: dict[str, Any]) -> None:
    """Print a table of every number: a column for each subject, the reference last."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    names = [one["name"] for one in found["subjects"]]
    for entry in found["properties"]:
        grid = Table(
            title=entry["title"],
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        grid.add_column("")
        for name in names:
            grid.add_column(name, justify="right", no_wrap=True)
        shown = rows(entry)
        known = [next(iter(one.values())).get("literature") for one in shown.values()]
        told = any(value is not None for value in known)
        if told:
            grid.add_column("published", justify="right")
        for (key, by_subject), published in zip(shown.items(), known, strict=True):
            first = next(iter(by_subject.values()))
            cells = [_cell(by_subject.get(name)) for name in names]
            if found["reference"] in names and found["reference"] not in by_subject:
                cells[names.index(found["reference"])] = _number(first["reference"])
            unit = f", {first['unit']}" if first["unit"] else ""
            grid.add_row(f"{key}{unit}", *cells, *([_number(published)] if told else []))
        console.print(grid)
        for name, sentences in entry["failed"].items():
            for sentence in sentences:
                text = Text(f"{name}: {sentence}", style="red")
                console.print(text, soft_wrap=True)


def rows(entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name of a number -> subject -> its quantity, of one property of a summary."""
    found: dict[str, dict[str, Any]] = {}
    for subject, quantities in entry["quantities"].items():
        for quantity in quantities:
            found.setdefault(quantity["name"], {})[subject] = quantity
    return found


def _cell(quantity: dict[str, Any] | None) -> Any:
    from rich.text import Text

    if quantity is None:
        return ""
    text = _number(quantity["value"])
    if quantity["uncertainty"] is not None:
        text += f" ± {quantity['uncertainty']:.2g}"
    style = {True: "green", False: "red", None: ""}[quantity["passed"]]
    return Text(text + (" ✗" if quantity["passed"] is False else ""), style=style)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _write_report(found: dict[str, Any], target: Path) -> None:
    """Draw the page, in one move."""
    from athanor.data.durable import write_file
    from athanor.report.suite import render_suite

    write_file(target, render_suite(found).encode())


def _conclude(found: dict[str, Any], place: Path) -> None:
    """Say what came out, and raise ValidationFailed where it is not what was asked for."""
    wrong = found["of"] - found["passed"]
    parts = []
    if found["failures"]:
        parts.append(f"{counted(found['failures'], 'measurement')} failed")
    if wrong:
        parts.append(f"{wrong} of {counted(found['of'], 'verdict')} not met")
    worse = [sentence for some in found.get("regressions", {}).values() for sentence in some]
    if worse:
        parts.append(f"{counted(len(worse), 'number')} worse than in the baseline ({worse[0]})")
    print(f"the report is {place / REPORT}", file=sys.stderr)
    if parts:
        raise ValidationFailed(f"{place}: {', '.join(parts)}; {place / REPORT} says more")
