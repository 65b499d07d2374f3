"""Verbs on structures: mindist."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms

from athanor.cli.convert import LABELLED, labels_of
from athanor.cli.distances import LARGEST_CUTOFF, shortest
from athanor.cli.files import (
    JsonOption,
    SpeciesOption,
    parse_species,
    refuse_existing,
    structures_of,
)
from athanor.errors import ConfigError


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
