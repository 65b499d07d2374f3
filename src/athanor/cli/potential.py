"""Verbs on potentials: fit, errors, evaluate."""

from __future__ import annotations

import json
import time
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from athanor.cli.files import (
    JsonOption,
    OutOption,
    PotentialArgument,
    SpeciesOption,
    labelled,
    open_potential,
    parse_species,
    refuse_existing,
    structures_of,
)
from athanor.cli.progress import duration, in_batches
from athanor.cli.spreads import labels_and_spreads
from athanor.cli.watch import watched
from athanor.cli.workplace import workplace
from athanor.component import choose, nearest
from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FormatError
from athanor.loading import PUBLISHED
from athanor.potentials import Potential, PotentialConfig

StartOption = Annotated[
    Path | None,
    typer.Option("--start", help="Potential to go on from, fitted with this recipe."),
]
FractionOption = Annotated[
    float,
    typer.Option(
        "--valid-fraction", min=0, max=0.9, help="Without --valid: share of TRAINING set apart."
    ),
]


def fit(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE.toml", help="A [potential] section, or its keys alone."),
    ],
    training: Annotated[Path, typer.Argument(metavar="TRAINING", help="Labelled structures.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it must not exist yet.")],
    valid: Annotated[
        Path | None, typer.Option("--valid", help="Labelled structures that tell when to stop.")
    ] = None,
    valid_fraction: FractionOption = 0.0,
    start: StartOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds, equal bits.")] = 0,
    species: SpeciesOption = None,
) -> None:
    """Fit a potential to labelled structures and save it.

    Interrupted, it leaves what it has in OUT.part; the same line goes on from there.
    """
    refuse_existing(out)
    config = read_recipe(recipe)
    order = parse_species(species)
    optional = not config.needs_forces
    train = labelled(training, species=order, forces_optional=optional)
    if valid is None:
        train, held_out = train.split(valid_fraction, seed=seed)
    else:
        held_out = labelled(valid, species=order, forces_optional=optional)
    first = None if start is None else open_potential(start, species=order).potential
    judges = f", stopped by {_size(held_out)}" if len(held_out) else ""
    print(f"fitting {_name(config)} to {_size(train)}{judges}")
    begin = time.monotonic()
    with workplace(out) as folder, watched(folder):
        potential = config.fit(train, held_out, seed=seed, workdir=folder, start=first)
        potential.save(out)
    print(f"fitted in {duration(time.monotonic() - begin)}, saved in {out}")
    parts = (("training", train, training), ("validation", held_out, valid or training))
    for name, frames, source in parts:
        if len(frames):
            _show_errors(_error_table(potential, frames, source=source), title=f"errors, {name}")


def read_recipe(path: Path) -> PotentialConfig:
    """Read a recipe: the [potential] section of a file, or a file that is nothing but its keys.

    Raises FormatError (unreadable, not TOML), ConfigError (unknown kind or key).
    """
    from athanor.campaign.config import SECTIONS

    if path.suffix in PUBLISHED:  # the published tool is given an untrained potential
        raise FormatError(
            path,
            None,
            'found a potential, expected a recipe: a TOML file with [potential], kind = "mtp", '
            "level = 16, max_dist = 5.0 and what else `athanor kinds` shows",
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(path, None, f"not a readable TOML file ({error})") from None
    section = table.get("potential", table)
    if not isinstance(section, dict):
        raise FormatError(
            path, None, "potential must be a section, [potential] with its keys below"
        )
    strangers = [name for name in table if "potential" in table and name not in SECTIONS]
    if strangers:
        raise ConfigError(
            f"{path}: unknown {strangers[0]!r}{nearest(strangers[0], SECTIONS)}; beside "
            "[potential] a recipe may hold only the other sections of a campaign"
        )
    return choose("athanor.potentials", PotentialConfig, section, where=f"{path} [potential]")


def errors(
    potential: PotentialArgument,
    labelled_file: Annotated[
        Path, typer.Argument(metavar="LABELLED", help="Structures with energies and forces.")
    ],
    *,
    json_: JsonOption = False,
    species: SpeciesOption = None,
) -> None:
    """Compare a potential with labels: MAE, RMSE, maximum of energy, forces, stress."""
    opened = open_potential(potential, species=parse_species(species))
    table = _error_table(
        opened.potential, labelled(labelled_file, species=opened.species), source=labelled_file
    )
    if json_:
        print(json.dumps(table, indent=2, allow_nan=False))
    else:
        _show_errors(table, title=f"{potential} against {labelled_file}")


def evaluate(
    potential: PotentialArgument,
    structures: Annotated[Path, typer.Argument(metavar="STRUCTURES")],
    *,
    out: OutOption,
    species: SpeciesOption = None,
) -> None:
    """Write energy, forces and stress of structures; the suffix of --out says how.

    Of an ensemble, the means, with the info keys energy_spread (eV over the root of the number of
    atoms), force_spread_max and force_spread_mean (eV/Å).
    """
    from athanor.data.formats import write_structures

    refuse_existing(out)
    opened = open_potential(potential, species=parse_species(species))
    found = structures_of(structures, species=opened.species)
    compute = partial(labels_and_spreads, opened.potential)
    evaluated = in_batches(found, compute, doing="evaluating", source=structures)
    labels, info = [one for one, _ in evaluated], [more for _, more in evaluated]
    write_structures(out, found, labels=labels, info=info, species=opened.species)
    print(f"{len(found)} structures evaluated, written to {out}")


def _error_table(potential: Potential, frames: Dataset, *, source: Path) -> dict[str, Any]:
    from athanor.data.metrics import errors as measure

    predicted = in_batches(frames.structures, potential.predict, doing="evaluating", source=source)
    pairs = list(zip(predicted, frames.labels, strict=True))
    known = [(one, other) for one, other in pairs if other.has_forces]
    if len(known) == len(pairs):
        return measure(predicted, frames.labels).as_dict()
    # energies and stresses of all, forces of those that have them
    bare = [tuple(replace(one, forces=0 * pair[0].forces) for one in pair) for pair in pairs]
    table = measure(*zip(*bare, strict=True)).as_dict()
    forces = measure(*zip(*known, strict=True)).as_dict()["forces_eV_per_A"] if known else None
    return {**table, "forces_eV_per_A": forces}


def _name(config: PotentialConfig) -> str:
    return str(getattr(config, "kind", type(config).__name__))


def _size(frames: Dataset) -> str:
    without = sum(not labels.has_forces for labels in frames.labels)
    told = f", {without} of them without forces" if without else ""
    return f"{len(frames)} structures ({frames.n_atoms} atoms){told}"


def _show_errors(table: dict[str, Any], *, title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    grid.add_column("")
    for heading in ("MAE", "RMSE", "max", "RMSE, %"):
        grid.add_column(heading, justify="right")
    for name, key, factor in (
        ("energy, meV/atom", "energy_eV_per_atom", 1000.0),
        ("forces, meV/Å", "forces_eV_per_A", 1000.0),
        ("stress, GPa", "stress_GPa", 1.0),
    ):
        found = table[key]
        if found is not None:
            percent = found["rmse_percent"]
            numbers = [f"{factor * found[kind]:.4g}" for kind in ("mae", "rmse", "max")]
            grid.add_row(name, *numbers, "" if percent is None else f"{percent:.3g}")
    Console(highlight=False).print(grid)
