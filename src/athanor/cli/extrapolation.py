"""Verbs on extrapolation: grade, select."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
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
    structures_of,
)
from athanor.cli.progress import in_batches
from athanor.data.durable import write_file
from athanor.errors import ConfigError
from athanor.loading import STATES
from athanor.query import Grade, Query, QueryConfig
from athanor.query import kinds as query_kinds

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


def query_of(
    opened: Opened, training: Path, *, save: float | None, halt: float | None, by: str | None = None
) -> Query:
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


def doptimality(*, save: float | None, halt: float | None, by: str | None) -> QueryConfig:
    """Build the recipe from the options given; the kind's own defaults for the others."""
    given: dict[str, Any] = {"save": save, "halt": halt, "by": by}
    table = {name: value for name, value in given.items() if value is not None}
    return query_kinds()["doptimality"].parse(table, where="the options --save, --halt, --by")


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
    """Write structures with their extrapolation grade (info keys grade, verdict)."""
    from athanor.data.formats import write_structures

    refuse_existing(out)
    opened = open_potential(potential, species=parse_species(species))
    found = structures_of(structures, species=opened.species)
    query = query_of(opened, training, save=save, halt=halt, by=by)
    grades = in_batches(found, query.grade, doing="grading", source=structures)
    info = [{"grade": one.value, "verdict": one.verdict} for one in grades]
    write_structures(out, found, info=info, species=opened.species)
    print(f"{len(found)} structures graded ({_counts(grades)}), written to {out}")


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
    from athanor.data.formats import write_structures

    refuse_existing(out)
    opened = open_potential(potential, species=parse_species(species))
    found = structures_of(pool, species=opened.species)
    query = query_of(opened, training, save=save, halt=halt, by=by)
    grades = in_batches(found, query.grade, doing="grading", source=pool)
    limit = len(found) if budget is None else budget
    chosen = query.select(found, grades, limit, np.random.default_rng(seed))
    info = [{"pool_index": index, "grade": grades[index].value} for index in chosen]
    if chosen:
        chosen_ones = [found[index] for index in chosen]
        write_structures(out, chosen_ones, info=info, species=opened.species)
    else:  # an empty selection is an answer, which scripts expect as a file
        write_file(out, b"")
    print(f"{len(chosen)} of {len(found)} structures selected, written to {out}")


def _counts(grades: list[Grade]) -> str:
    verdicts = [one.verdict for one in grades]
    return ", ".join(f"{verdicts.count(name)} {name}" for name in ("keep", "save", "halt"))
