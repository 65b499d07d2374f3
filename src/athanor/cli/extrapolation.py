"""Verbs on extrapolation: grade, select."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import numpy as np
import typer
from ase import Atoms

from athanor.cli.files import (
    REFUSED,
    Opened,
    OutOption,
    PotentialArgument,
    SpeciesOption,
    open_potential,
    parse_species,
    refuse_existing,
)
from athanor.cli.judges import (
    ByOption,
    HaltOption,
    MeasureOption,
    MinDistanceOption,
    QueryOption,
    SaveOption,
    TrainingArgument,
    judge_of,
    told_of,
)
from athanor.cli.progress import Passes, size
from athanor.data.batches import ATOMS_AT_ONCE
from athanor.query import Query

PUBLISHED_SELECT = 1.1
"""The threshold that the published code selects with; while sampling it saves from 2.1 on."""
EACH = 150
"""Bytes by which `select` remembers a structure that it has met: equal ones count once."""

WorthOption = Annotated[
    float | None,
    typer.Option(
        "--save",
        help="Grade from which a structure is worth a label; by D-optimality "
        f"{PUBLISHED_SELECT} if not given.",
    ),
]
PoolArgument = Annotated[Path, typer.Argument(metavar="POOL", help="Structures to choose from.")]
BudgetOption = Annotated[
    int | None, typer.Option("--budget", min=1, help="Choose at most this many.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of --query random.")]


@runtime_checkable
class SelectsFrom(Protocol):
    """A query that selects from a pool that passes by in batches."""

    def select_from(
        self, batches: Callable[[], Iterable[Sequence[Atoms]]], *, budget: int
    ) -> list[int]: ...


@runtime_checkable
class Held(Protocol):
    """A query that knows what memory it takes, in bytes, for so many atoms at a time."""

    def held(self, n_atoms: int, *, selecting: bool = False) -> int: ...


def grade(
    potential: PotentialArgument,
    training: TrainingArgument,
    *,
    structures: Annotated[Path, typer.Argument(metavar="STRUCTURES")],
    out: OutOption,
    save: SaveOption = None,
    halt: HaltOption = None,
    by: ByOption = None,
    query: QueryOption = "doptimality",
    measure: MeasureOption = None,
    min_distance: MinDistanceOption = None,
    species: SpeciesOption = None,
) -> None:
    """Write structures with their extrapolation grade (info keys grade, verdict).

    Of an ensemble also energy_spread (eV over the root of the number of atoms), force_spread_max
    and force_spread_mean (eV/Å); by committee the shortest distance (mindist, Å) and, where several
    measures are judged, which one decided (because).
    """
    from athanor.data.writer import check_suffix, structure_writer

    refuse_existing(out)
    check_suffix(out)
    opened = open_potential(potential, species=parse_species(species))
    options = {"by": by, "measure": measure, "min_distance": min_distance}
    judge = judge_of(opened, training, kind=query, save=save, halt=halt, **options)
    verdicts: Counter[str] = Counter()
    with (
        structure_writer(out, species=opened.species) as writer,
        _passes(structures, opened, judge, doing="grading") as passes,
    ):
        for batch in passes():
            both = passes.computed(lambda some: told_of(opened.potential, judge, some), batch)
            for atoms, (one, info) in zip(batch, both, strict=True):
                writer.write(atoms, info=info)
                verdicts[one.verdict] += 1
    counts = ", ".join(f"{verdicts[name]} {name}" for name in ("keep", "save", "halt"))
    print(f"{writer.written} structures graded ({counts}), written to {out}")


def select(
    potential: PotentialArgument,
    training: TrainingArgument,
    *,
    pool: PoolArgument,
    out: OutOption,
    budget: BudgetOption = None,
    seed: SeedOption = 0,
    save: WorthOption = None,
    halt: HaltOption = None,
    by: ByOption = None,
    query: QueryOption = "doptimality",
    measure: MeasureOption = None,
    min_distance: MinDistanceOption = None,
    species: SpeciesOption = None,
) -> None:
    """Write the structures of a pool that are worth a label (info keys pool_index, grade).

    By D-optimality the fewest after whose labelling no structure of the pool has a grade above
    --save. By committee all above --save, or the --budget of them that are graded highest and least
    alike; none that TRAINING has.
    """
    from athanor.data.formats import iter_structures
    from athanor.data.writer import check_suffix, structure_writer

    refuse_existing(out)
    check_suffix(out)
    opened = open_potential(potential, species=parse_species(species))
    if save is None and query == "doptimality":
        save = PUBLISHED_SELECT
    options = {"by": by, "measure": measure, "min_distance": min_distance}
    judge = judge_of(opened, training, kind=query, save=save, halt=halt, **options)
    with (
        structure_writer(out, species=opened.species) as writer,
        _passes(pool, opened, judge, doing="selecting", selecting=True) as passes,
    ):
        chosen = _chosen(judge, passes, budget=budget or sys.maxsize, seed=seed)
        wanted = frozenset(chosen)  # only numbers were kept of what has passed by
        again = islice(iter_structures(pool, opened.species), max(chosen, default=-1) + 1)
        found = {index: atoms for index, atoms in enumerate(again) if index in wanted}
        for index in chosen:  # none, and an empty file, is an answer too
            value = judge.grade([found[index]])[0].value
            writer.write(found[index], info={"pool_index": index, "grade": value})
    print(f"{len(chosen)} of {passes.count} structures selected, written to {out}")


def _chosen(query: Query, passes: Passes, *, budget: int, seed: int) -> list[int]:
    """Select in batches where the query can, else from all structures at once."""
    try:
        if isinstance(query, SelectsFrom):
            return query.select_from(passes, budget=budget)
        pool = [atoms for batch in passes() for atoms in batch]
        grades = query.grade(pool)
    except REFUSED:
        passes.blame(query.grade)
        raise
    return query.select(pool, grades, budget, np.random.default_rng(seed))


def _passes(
    path: Path, opened: Opened, query: Query, *, doing: str, selecting: bool = False
) -> Passes:
    """The structures of a file by batches; says first how many, and how much memory they take."""
    from athanor.data.census import census
    from athanor.data.formats import iter_structures

    counted = census(path)
    at_once = ATOMS_AT_ONCE
    if counted is not None:
        at_once = min(max(at_once, counted.largest), counted.atoms)
    what = "" if counted is None else f"{counted.structures} structures, {counted.atoms} atoms; "
    takes = ""
    if isinstance(query, Held):
        held = query.held(at_once, selecting=selecting)
        if selecting and counted is not None:
            held += EACH * counted.structures
        takes = f" takes about {size(held)} of memory"
    print(f"{path}: {what}{doing} them batch by batch{takes}")
    return Passes(
        lambda: iter_structures(path, opened.species),
        doing=doing,
        source=path,
        total=None if counted is None else counted.structures,
    )
