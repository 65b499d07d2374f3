"""Verbs on extrapolation: grade, select."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from athanor.cli.files import (
    REFUSED,
    Opened,
    OutOption,
    PotentialArgument,
    SpeciesOption,
    blame,
    geometry_only,
    open_potential,
    parse_species,
    refuse_existing,
)
from athanor.cli.progress import Passes, size
from athanor.cli.spreads import spreads
from athanor.data.batches import ATOMS_AT_ONCE
from athanor.errors import ConfigError
from athanor.loading import STATES
from athanor.query import Grade

if TYPE_CHECKING:
    from athanor.query.doptimality import DOptimalityConfig, DOptimalQuery

TrainingArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TRAINING",
        help="What it was fitted to; labels are not needed. Or MLIP's state: .als, .almtp.",
    ),
]
SaveOption = Annotated[
    float | None, typer.Option("--save", help="Grade from which a structure is worth a label.")
]
HaltOption = Annotated[
    float | None, typer.Option("--halt", help="Grade from which dynamics would be stopped.")
]
ByOption = Annotated[
    str | None, typer.Option("--by", help="What is graded: the configuration or its atoms.")
]

PUBLISHED_SELECT = 1.1
"""The threshold that the published code selects with; while sampling it saves from 2.1 on."""
EACH = 150
"""Bytes by which `select` remembers a structure that it has met: equal ones count once."""


def query_of(
    opened: Opened, training: Path, *, save: float | None, halt: float | None, by: str | None = None
) -> DOptimalQuery:
    """Fit the D-optimality query to a training set's geometries, or take MLIP's state as it is.

    Raises ConfigError (thresholds, a potential without features, another's state), FormatError.
    """
    recipe = doptimality(save=save, halt=halt, by=by)
    if not hasattr(opened.potential, "features"):
        raise ConfigError(
            "this potential has no features (derivatives by its parameters), which grades by "
            "D-optimality need; use one that has, e.g. kind mtp"
        )
    if training.suffix in STATES:
        from athanor.query.state import query_from_state

        return query_from_state(opened.potential, training, recipe=recipe)
    known = geometry_only(training, species=opened.species)
    try:
        return recipe.fit(opened.potential, known)
    except REFUSED:
        blame(training, known.structures, opened.potential.predict)
        raise


def doptimality(*, save: float | None, halt: float | None, by: str | None) -> DOptimalityConfig:
    """Build the recipe from the options given; the kind's own defaults for the others."""
    # scipy takes long to import, and `athanor --help` does without
    from athanor.query.doptimality import DOptimalityConfig

    given: dict[str, Any] = {"save": save, "halt": halt, "by": by}
    table = {name: value for name, value in given.items() if value is not None}
    return DOptimalityConfig.parse(table, where="the options --save, --halt, --by")


def grade(
    potential: PotentialArgument,
    training: TrainingArgument,
    *,
    structures: Annotated[Path, typer.Argument(metavar="STRUCTURES")],
    out: OutOption,
    save: SaveOption = None,
    halt: HaltOption = None,
    by: ByOption = None,
    species: SpeciesOption = None,
) -> None:
    """Write structures with their extrapolation grade (info keys grade, verdict).

    Of an ensemble also energy_spread (eV over the root of the number of atoms), force_spread_max
    and force_spread_mean (eV/Å).
    """
    from athanor.data.writer import check_suffix, structure_writer

    refuse_existing(out)
    check_suffix(out)
    opened = open_potential(potential, species=parse_species(species))
    query = query_of(opened, training, save=save, halt=halt, by=by)
    verdicts: Counter[str] = Counter()
    with (
        structure_writer(out, species=opened.species) as writer,
        _passes(structures, opened, query, doing="grading") as passes,
    ):
        for batch in passes():
            grades = passes.computed(query.grade, batch)
            for atoms, one, more in zip(
                batch, grades, spreads(opened.potential, batch), strict=True
            ):
                writer.write(atoms, info=info_of(one) | more)
                verdicts[one.verdict] += 1
    counts = ", ".join(f"{verdicts[name]} {name}" for name in ("keep", "save", "halt"))
    print(f"{writer.written} structures graded ({counts}), written to {out}")


def info_of(grade: Grade) -> dict[str, Any]:
    """What `athanor grade` writes of one structure: info keys and their values."""
    return {"grade": grade.value, "verdict": grade.verdict}


def select(
    potential: PotentialArgument,
    training: TrainingArgument,
    *,
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="Structures to choose from.")],
    out: OutOption,
    budget: Annotated[
        int | None, typer.Option("--budget", min=1, help="Choose at most this many.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    save: SaveOption = PUBLISHED_SELECT,
    halt: HaltOption = None,
    by: ByOption = None,
    species: SpeciesOption = None,
) -> None:
    """Write the fewest structures of a pool that are worth a label.

    The info keys are pool_index (from 0) and grade. After labelling them, no structure of the pool
    has a grade above --save.
    """
    from athanor.data.formats import iter_structures
    from athanor.data.writer import check_suffix, structure_writer

    refuse_existing(out)
    check_suffix(out)
    opened = open_potential(potential, species=parse_species(species))
    query = query_of(opened, training, save=save, halt=halt, by=by)
    with (
        structure_writer(out, species=opened.species) as writer,
        _passes(pool, opened, query, doing="selecting", selecting=True) as passes,
    ):
        try:
            chosen = query.select_from(passes, budget=sys.maxsize if budget is None else budget)
        except REFUSED:
            passes.blame(query.grade)
            raise
        # only numbers were kept of what has passed by
        wanted = frozenset(chosen)
        again = islice(iter_structures(pool, opened.species), max(chosen, default=-1) + 1)
        found = {index: atoms for index, atoms in enumerate(again) if index in wanted}
        for index in chosen:  # none, and an empty file, is an answer too
            value = query.grade([found[index]])[0].value
            writer.write(found[index], info={"pool_index": index, "grade": value})
    print(f"{len(chosen)} of {passes.count} structures selected, written to {out}")


def _passes(
    path: Path, opened: Opened, query: DOptimalQuery, *, doing: str, selecting: bool = False
) -> Passes:
    """The structures of a file by batches; says first how many, and how much memory they take."""
    from athanor.data.census import census
    from athanor.data.formats import iter_structures

    counted = census(path)
    at_once = ATOMS_AT_ONCE
    if counted is not None:
        at_once = min(max(at_once, counted.largest), counted.atoms)
    held = query.held(at_once, selecting=selecting)
    if selecting and counted is not None:
        held += EACH * counted.structures
    what = "" if counted is None else f"{counted.structures} structures, {counted.atoms} atoms; "
    print(f"{path}: {what}{doing} them batch by batch takes about {size(held)} of memory")
    return Passes(
        lambda: iter_structures(path, opened.species),
        doing=doing,
        source=path,
        total=None if counted is None else counted.structures,
    )
