"""Verbs on structures: relax, mindist."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from ase import Atoms
from ase.units import GPa

from athanor.cli.convert import LABELLED, labels_of
from athanor.cli.distances import LARGEST_CUTOFF, shortest
from athanor.cli.extrapolation import HaltOption, SaveOption, query_of
from athanor.cli.files import (
    REFUSED,
    JsonOption,
    OutOption,
    PotentialArgument,
    SpeciesOption,
    blame,
    open_potential,
    parse_species,
    refuse_existing,
    structures_of,
)
from athanor.cli.progress import progress
from athanor.errors import ConfigError

MOST_GPA = 100000
"""No potential here means anything beyond; the centre of the Sun has ten million."""

if TYPE_CHECKING:
    from athanor.sample.relax import RelaxResult


def relax(
    potential: PotentialArgument,
    structures: Annotated[Path, typer.Argument(metavar="STRUCTURES")],
    *,
    out: OutOption,
    fmax: Annotated[float, typer.Option("--fmax", help="Largest force left, eV/Å.")] = 0.01,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Give up after this many.")] = 500,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell as well.")] = False,
    pressure: Annotated[
        float, typer.Option("--pressure-GPa", help="Outer pressure; needs --cell.")
    ] = 0.0,
    training: Annotated[
        Path | None, typer.Option("--training", help="Training set: grade every step on the way.")
    ] = None,
    save: SaveOption = None,
    halt: HaltOption = None,
    species: SpeciesOption = None,
) -> None:
    """Relax structures (info keys converged, steps, stopped_by, fmax).

    With --training, the info key grade is the highest met on the way, and a relaxation ends at the
    structure whose grade exceeds --halt.
    """
    from threadpoolctl import threadpool_limits

    from athanor.sample.relax import RelaxOptions
    from athanor.sample.relax import relax as relax_one

    _check_options(fmax=fmax, cell=cell, pressure=pressure, training=training, save=save, halt=halt)
    refuse_existing(out)
    opened = open_potential(potential, species=parse_species(species))
    found = structures_of(structures, species=opened.species)
    query = None if training is None else query_of(opened, training, save=save, halt=halt)
    how = RelaxOptions(
        fmax=fmax, steps=steps, cell="free" if cell else "fixed", pressure=pressure * GPa
    )
    done: list[RelaxResult] = []
    with threadpool_limits(limits=1), progress("relaxing", total=len(found)) as advance:
        for index, atoms in enumerate(found):
            try:
                done.append(relax_one(atoms, opened.potential, query, options=how))
            except REFUSED:
                blame(structures, [atoms], opened.potential.predict, first=index)
                raise
            advance(1)
    _write_relaxed(out, done, graded=query is not None)
    print(f"{_converged(done)} relaxed to {fmax} eV/Å, written to {out}")


def _converged(done: list[RelaxResult]) -> str:
    return f"{sum(one.converged for one in done)} of {len(done)}"


def _write_relaxed(out: Path, done: list[RelaxResult], *, graded: bool) -> None:
    from athanor.data.formats import write_structures

    write_structures(
        out,
        [one.atoms for one in done],
        labels=[one.labels for one in done],
        info=[_told(one, graded=graded) for one in done],
    )


def _told(result: RelaxResult, *, graded: bool) -> dict[str, Any]:
    """What goes beside a relaxed structure into the file."""
    stopped_by = result.harvest.stopped_by if result.harvest.stopped_by != "completed" else "steps"
    info: dict[str, Any] = {
        "converged": result.converged,
        "steps": result.harvest.steps,
        "stopped_by": "converged" if result.converged else stopped_by,
        "fmax": result.fmax,
    }
    if graded:
        met = [*result.harvest.trace.get("grade", ()), *(g.value for g in result.harvest.grades)]
        info["grade"] = float(max(met))
    return info


def _check_options(
    *,
    fmax: float,
    cell: bool,
    pressure: float,
    training: Path | None,
    save: float | None,
    halt: float | None,
) -> None:
    if not 0 < fmax < math.inf:
        raise ConfigError(
            f"--fmax {fmax}: the largest force left must be positive and finite, in eV/Å"
        )
    if not abs(pressure) <= MOST_GPA:
        raise ConfigError(
            f"--pressure-GPa {pressure}: give a number from -{MOST_GPA} to {MOST_GPA}"
        )
    if pressure and not cell:
        raise ConfigError("--pressure-GPa acts on the cell: give --cell as well")
    if training is None and (save is not None or halt is not None):
        raise ConfigError("--save and --halt are thresholds of grades: give --training as well")


def mindist(
    structures: Annotated[Path, typer.Argument(metavar="STRUCTURES")],
    json_: JsonOption = False,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write them with the info key mindist.")
    ] = None,
    at_least: Annotated[
        float, typer.Option("--at-least", help="With --out: leave out those with less, Å.")
    ] = 0.0,
    species: SpeciesOption = None,
) -> None:
    """Show the shortest distances, by pair of species and by structure."""
    if out is not None:
        refuse_existing(out)
    elif at_least:
        raise ConfigError("--at-least says what is written: give --out as well")
    order = parse_species(species)
    found = structures_of(structures, species=order)
    each = [shortest(atoms) for atoms in found]
    pairs: dict[str, float] = {}
    for one in each:
        for pair, distance in one.items():
            pairs[pair] = min(distance, pairs.get(pair, distance))
    nearest = [min(one.values()) if one else None for one in each]
    if out is not None:
        _write_distant(structures, out, found, nearest=nearest, at_least=at_least, species=order)
    if json_:
        print(
            json.dumps({"unit": "Å", "pairs": dict(sorted(pairs.items())), "structures": nearest})
        )
        return
    _show_distances(found, pairs, nearest=nearest)


def _write_distant(
    source: Path,
    out: Path,
    found: Sequence[Atoms],
    *,
    nearest: Sequence[float | None],
    at_least: float,
    species: tuple[str, ...] | None,
) -> None:
    """Write those whose shortest distance is at least so much, with it and their labels."""
    from athanor.data.formats import write_structures

    distances = [math.inf if one is None else one for one in nearest]
    kept = [index for index, one in enumerate(distances) if one >= at_least]
    if not kept:
        raise ConfigError(
            f"{source}: no structure keeps its atoms {at_least:g} Å apart; give --at-least less"
        )
    labels = labels_of(source, species=species) if out.suffix in LABELLED else None
    write_structures(
        out,
        [found[index] for index in kept],
        labels=None if labels is None else [labels[index] for index in kept],
        info=[{} if nearest[k] is None else {"mindist": nearest[k]} for k in kept],
        species=species,
    )
    print(f"{len(kept)} of {len(found)} structures written to {out}", file=sys.stderr)


def _show_distances(
    found: Sequence[Atoms], pairs: dict[str, float], *, nearest: Sequence[float | None]
) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    by_pair = Table("pair", "shortest, Å", title="by pair of species", title_justify="left")
    for pair, distance in sorted(pairs.items()):
        by_pair.add_row(pair, f"{distance:.4f}")
    by_structure = Table(
        "structure", "formula", "shortest, Å", title="by structure", title_justify="left"
    )
    for index, (atoms, least) in enumerate(zip(found, nearest, strict=True)):
        text = f"beyond {LARGEST_CUTOFF:g}" if least is None else f"{least:.4f}"
        by_structure.add_row(str(index), atoms.get_chemical_formula(), text)
    console.print(by_pair)
    console.print(by_structure)
