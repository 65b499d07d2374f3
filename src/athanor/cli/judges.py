"""The query that a verb grades with: its options, its recipe, what is told of a grade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from ase import Atoms

from athanor.cli.distances import shortest
from athanor.cli.files import REFUSED, Opened, blame, geometry_only
from athanor.cli.spreads import spreads
from athanor.component import choose
from athanor.errors import ConfigError
from athanor.loading import STATES
from athanor.potentials import Potential
from athanor.query import Grade, Query, QueryConfig

if TYPE_CHECKING:
    from athanor.query.doptimality import DOptimalQuery

TrainingArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TRAINING",
        help="What it was fitted to; labels are not needed. Or MLIP's state: .als, .almtp.",
    ),
]
QueryOption = Annotated[
    str,
    typer.Option("--query", help="What grades: doptimality, committee (of an ensemble), random."),
]
SaveOption = Annotated[
    float | None, typer.Option("--save", help="Grade from which a structure is worth a label.")
]
HaltOption = Annotated[
    float | None, typer.Option("--halt", help="Grade from which dynamics would be stopped.")
]
ByOption = Annotated[
    str | None,
    typer.Option("--by", help="By D-optimality: what is graded, structure or atom."),
]
MeasureOption = Annotated[
    str | None,
    typer.Option(
        "--measure",
        help="By committee: force_max, force_mean, energy, or several of them: energy,force_max.",
    ),
]
MinDistanceOption = Annotated[
    float | None,
    typer.Option("--min-distance", help="By committee: Å; with atoms nearer, no label."),
]


def query_of(
    opened: Opened, training: Path, *, save: float | None, halt: float | None
) -> DOptimalQuery:
    """Fit the D-optimality query to a training set's geometries, or take MLIP's state as it is.

    Raises ConfigError (thresholds, a potential without features, another's state), FormatError.
    """
    from athanor.query.doptimality import DOptimalQuery

    query = judge_of(opened, training, kind="doptimality", save=save, halt=halt)
    assert isinstance(query, DOptimalQuery), "what its recipe makes"
    return query


def judge_of(opened: Opened, training: Path, *, kind: str, **options: Any) -> Query:
    """Fit a query of a kind, with the options that are not None and its own defaults else.

    Raises ConfigError (no such kind, an option it has not, what the potential lacks), FormatError.
    """
    return _fitted(opened, training, _recipe(kind, options))


def _recipe(kind: str, options: Mapping[str, Any]) -> QueryConfig:
    given = {name: value for name, value in options.items() if value is not None}
    if "measure" in given and "," in given["measure"]:
        given["measure"] = [name.strip() for name in given["measure"].split(",")]
    where = f"the options of --query {kind}"
    return choose("athanor.query", QueryConfig, {"kind": kind, **given}, where=where)


def _fitted(opened: Opened, training: Path, recipe: QueryConfig) -> Query:
    """Fit a query to a training set's geometries, or take MLIP's state as it is.

    Raises ConfigError (what the potential has not, another's state), FormatError.
    """
    if "features" in recipe.requires and not hasattr(opened.potential, "features"):
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


def told_of(
    potential: Potential, query: Query, structures: Sequence[Atoms]
) -> list[tuple[Grade, dict[str, Any]]]:
    """Grade of each structure and what is written of it; members are evaluated once for both."""
    from athanor.query.committee import CommitteeQuery

    if isinstance(query, CommitteeQuery):
        return [
            (grade, info_of(grade) | spread.info() | _nearest(atoms))
            for atoms, (grade, spread) in zip(
                structures, query.grade_with_spread(structures), strict=True
            )
        ]
    grades, more = query.grade(structures), spreads(potential, structures)
    return [(grade, info_of(grade) | info) for grade, info in zip(grades, more, strict=True)]


def _nearest(atoms: Atoms) -> dict[str, float]:
    found = shortest(atoms).values()
    return {"mindist": min(found)} if found else {}


def info_of(grade: Grade) -> dict[str, Any]:
    """What `athanor grade` writes of one structure: info keys and their values."""
    why = {"because": grade.because} if grade.because else {}
    return {"grade": grade.value, "verdict": grade.verdict, **why}
