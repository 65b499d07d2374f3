"""Accuracy by teacher: the published ANI-Al labels, and an ANI ensemble learns it back.

    python benchmarks/ani_teacher.py TEACHER FOLDER [--labels 1500] [--workers 2] [--out FILE]

TEACHER is the published ANI-Al in NeuroChem's format. Two sets of --labels structures are made and
a part of each is held out: what a campaign from random disordered cells asks for (section II.B of
Smith et al. 2021: committee of eight, random temperature schedules), and snapshots of fcc heated,
melted and cooled and of melts (section IV), by dynamics of the teacher. A model is fitted to each,
and both are tested on what both sets held out: the paper's Table I. Besides: errors against the
number of labels, and what averaging over the ensemble gains.

Everything is kept in FOLDER: the same line goes on where it was stopped, at any moment, and a
folder that belongs to other settings is refused. Times are printed before, at most, for one core;
`--labels 300 --shortest 9 --longest 13 --length-ps 4 --heating-ps 150` is a version for an hour on
two cores. The record and two pictures are written at the end: FILE and PNGs beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import fields
from pathlib import Path

from ani_systems import machine
from teacher import campaign, equilibrium, plots, table
from teacher.settings import Settings

from athanor.data.durable import make_folder, write_file
from athanor.loading import load
from athanor.potentials import Potential


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("teacher", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2, help="processes of the campaign")
    parser.add_argument("--hours", type=float, default=24.0, help="of the campaign, at most")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ani_teacher.json"))
    defaults = Settings()
    for field in fields(Settings):
        value = getattr(defaults, field.name)
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), default=value)
    return parser.parse_args()


def settled(given: argparse.Namespace) -> Settings:
    """The settings; SystemExit when the folder belongs to others."""
    settings = Settings(**{field.name: getattr(given, field.name) for field in fields(Settings)})
    path = given.folder / "settings.json"
    make_folder(given.folder)
    if not path.exists():
        write_file(path, (json.dumps(settings.as_dict(), indent=1) + "\n").encode())
    before = json.loads(path.read_text(encoding="utf-8"))
    for name, value in settings.as_dict().items():
        if before.get(name) != value:
            raise SystemExit(
                f"{path}: this folder was begun with {name} = {before.get(name)}, not {value}; "
                "give the same settings, or another folder"
            )
    return settings


def taught(published: Path, folder: Path) -> tuple[Potential, Path]:
    """The teacher as a potential of ours, saved once."""
    path = folder / "teacher"
    if not path.exists():
        load(published).save(path)
    return load(path), path


def main() -> None:
    given = options()
    settings, folder = settled(given), given.folder
    expected = settings.forecast()
    hours = ", ".join(f"{name} {value:.2f}" for name, value in expected.items())
    print(f"expected, hours of one core at most: {hours}; {sum(expected.values()):.1f} in all")
    begin = time.monotonic()
    teacher, path = taught(given.teacher, folder)
    config = campaign.config_of(settings, path, workers=given.workers, hours=given.hours)
    active = table.Parts.of(campaign.bought(config, folder / "campaign"), settings)
    melt = table.Parts.of(equilibrium.melt_set(teacher, settings, folder / "melt"), settings)
    fits = table.Fits(settings, folder / "fits")
    tests = {"FCC/melt test": melt.test, "AL test": active.test}
    curve = table.curve(fits, active.train, active.test)
    # as many labels as the campaign bought, should it have ended early
    equal = table.sized(melt.train, len(active.train), settings)
    models = {
        "AL trained": fits.model(table.active_name(len(active.train)), active.train),
        "FCC/melt trained": fits.model("melt", equal),
    }
    rows = table.table(models["AL trained"], models["FCC/melt trained"], tests)
    record = {
        "machine": machine(),
        "teacher": given.teacher.name,
        "settings": settings.as_dict(),
        "recipe": settings.recipe(len(active.train)).model_dump(mode="json"),
        "frames": {
            "AL": [len(active.train), len(active.test)],
            "FCC/melt": [len(equal), len(melt.test)],
        },
        "table": rows,
        "times_worse": table.contrast(rows),
        "reached": table.reached(rows),
        "curve": curve,
        "averaging": {name: table.averaging(model, active.test) for name, model in models.items()},
        "melted_rms_displacement_A": equilibrium.displacement(folder / "melt"),
        "campaign": campaign.history(folder / "campaign"),
        "last_run_hours": (time.monotonic() - begin) / 3600,
    }
    make_folder(given.out.parent)
    write_file(given.out, (json.dumps(record, indent=1) + "\n").encode())
    plots.learning_curve(curve, given.out.with_name(f"{given.out.stem}_curve.png"))
    plots.correlation(models, tests, given.out.with_name(f"{given.out.stem}_correlation.png"))
    print(f"{len(active.train)} labels trained on of {settings.labels} allowed")
    print(table.printed(rows))
    for goal, met in table.reached(rows).items():
        print(f"{goal}: {'yes' if met else 'no'}")
    for row in curve:
        print(json.dumps(row))
    print(json.dumps(record["averaging"]["AL trained"]["lower_percent"]))


if __name__ == "__main__":
    main()
