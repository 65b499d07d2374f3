"""Verbs on campaigns: init, run, status, report."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from athanor.cli.files import JsonOption, parse_species, refuse_existing
from athanor.cli.progress import counted, duration
from athanor.errors import LimitReached, ValidationFailed

REPORT = "report.html"
POTENTIAL = "potential"
FolderArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder of a campaign, running, stopped or done.")
]


ElementOption = Annotated[
    str | None,
    typer.Option(
        "--element",
        help="Elements, Al by default: Al,Ni. With --pool: symbols by index, of a .cfg file.",
    ),
]
PoolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pool",
        metavar="FILE",
        help="A trajectory to distil: a campaign for it; repeat it for more files.",
    ),
]
LevelOption = Annotated[
    int | None,
    typer.Option("--level", help="Of a moment tensor potential: 12, or what suits the pool."),
]
OracleOption = Annotated[
    str | None,
    typer.Option(
        "--oracle",
        help="Name of an ASE calculator, emt by default; with --pool for labels that it lacks.",
    ),
]


def init(
    where: Annotated[
        Path, typer.Argument(metavar="[DIR|FILE]", help="Where to write: campaign.toml in DIR.")
    ] = Path(),
    element: ElementOption = None,
    *,
    pool: PoolOption = None,
    potential: Annotated[str, typer.Option("--potential", help="Kind of potential.")] = "mtp",
    level: LevelOption = None,
    oracle: OracleOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 1,
) -> None:
    """Write a commented campaign file to begin with."""
    path = where if where.suffix == ".toml" else where / "campaign.toml"
    name = path.stem if path.stem != "campaign" else None
    elements = parse_species(element, option="--element")
    if pool:
        from athanor.cli.pool_init import Asked, init_pool

        init_pool(path, Asked(tuple(pool), name, elements, potential, level, oracle, seed))
        return
    _init(
        path,
        name=name,
        elements=elements or ("Al",),
        potential=potential,
        level=12 if level is None else level,
        oracle=oracle or "emt",
        seed=seed,
    )


def _init(path: Path, *, name: str | None, elements: tuple[str, ...], **options: Any) -> None:
    """Write a campaign file for elements."""
    from athanor.campaign.config import CampaignConfig
    from athanor.cli.starter import starter
    from athanor.data.durable import write_file

    text = starter(name=name or "-".join(elements).lower(), elements=elements, **options)
    CampaignConfig.of(tomllib.loads(text), where="the options given")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(refuse_existing(path), text.encode())
    print(f"written to {path}; look through it, then start it with  athanor run {path}")


def run(
    campaign: Annotated[Path, typer.Argument(metavar="CAMPAIGN.toml", help="The campaign file.")],
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Where everything goes; CAMPAIGN.athanor here by default."),
    ] = None,
) -> None:
    """Run a campaign, or carry on with it: the same line starts and resumes."""
    from athanor.campaign.sections import read_tables
    from athanor.distil import is_distillation

    place = Path(f"{campaign.stem}.athanor") if folder is None else folder
    if is_distillation(read_tables(campaign)[0]):
        _distil(campaign, place)
    else:
        _sample(campaign, place)


def _sample(campaign: Path, place: Path) -> None:
    """Run a campaign that samples by itself."""
    from athanor.campaign import Campaign, CampaignConfig
    from athanor.campaign import run as run_campaign
    from athanor.cli.live import display

    config = CampaignConfig.read(campaign)
    print(f"{config.campaign.name}: running in {place}")
    with display(config.campaign.name) as show:
        state = run_campaign(config, place, progress=show)
    write_report(place, place / REPORT)
    print(_ending(state, place))
    refused = Campaign(place).status().refused
    if refused is not None:
        raise ValidationFailed(
            f"{place}: {refused.sentence}; {place / POTENTIAL} is that of cycle {refused.against}"
        )
    if state.stopped_by != "untriggered":
        raise LimitReached(
            f"{place}: stopped by the limit {state.stopped_by}, before its trajectories ran their "
            "full schedule often enough; raise it under [stop] and start the same line again"
        )


def _distil(campaign: Path, place: Path) -> None:
    """Run a campaign on a pool."""
    from athanor.cli.distilled import ending
    from athanor.cli.live import display
    from athanor.distil import DistilConfig, Distillation
    from athanor.distil import run as run_distillation

    config = DistilConfig.read(campaign)
    print(f"{config.campaign.name}: running in {place}")
    with display(config.campaign.name) as show:
        state = run_distillation(config, place, progress=show)
    write_report(place, place / REPORT)
    print(ending(Distillation(place), place))
    if state.stopped_by != "tolerance":
        raise LimitReached(
            f"{place}: stopped by the limit {state.stopped_by}, before the energy RMSE reached "
            f"{config.stop.energy_rmse_meV:g} meV/atom; raise it under [stop] and start the same "
            "line again"
        )


def _ending(state: Any, folder: Path) -> str:
    """What came out, and where it is."""
    places = {
        "potential": folder / POTENTIAL,
        "training set": folder / "training.extxyz",
        "report": folder / REPORT,
    }
    head = (
        f"{state.name}: {counted(state.cycle, 'cycle')}, "
        f"{counted(state.labels_bought, 'label')}, {duration(state.elapsed_s)}"
    )
    return "\n".join([head, *(f"  {name:<13} {path}" for name, path in places.items())])


def status(folder: FolderArgument, json_: JsonOption = False) -> None:
    """Show how a campaign or a suite stands."""
    from athanor.suite.folder import is_suite

    if is_suite(folder):
        from athanor.cli.validate import show_standing

        show_standing(folder, as_json=json_)
        return
    from athanor.distil.folder import distillation

    if (distilled := distillation(folder)) is not None:
        from athanor.cli.distilled import as_json
        from athanor.cli.distilled import show as show_distilled

        print(as_json(distilled)) if json_ else show_distilled(distilled)
        return
    from athanor.cli.standing import as_dict, show, standing

    found = standing(folder)
    if json_:
        print(json.dumps(as_dict(found), indent=2, allow_nan=False))
    else:
        show(found)


def report(
    folder: FolderArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; FOLDER/report.html by default.")
    ] = None,
) -> None:
    """Write the report of a campaign, finished or not."""
    if out is not None:
        refuse_existing(out)
    target = folder / REPORT if out is None else out
    write_report(folder, target)
    print(f"written to {target}")


def write_report(folder: Path, target: Path) -> None:
    """Draw the report of a campaign's folder into one HTML file, in one move."""
    from athanor.data.durable import write_file
    from athanor.report import report_of

    write_file(target, report_of(folder).encode())
