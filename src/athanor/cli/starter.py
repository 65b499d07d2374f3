"""The campaign file that `athanor init` writes: complete, commented, sized for a laptop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers, reference_states

from athanor.errors import ConfigError
from athanor.sample._density import GRAM_PER_CM3

EMT_ELEMENTS = ("Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt")
NEIGHBOURS = {"fcc": 2**-0.5, "bcc": 0.75**0.5, "diamond": 3**0.5 / 4, "sc": 1.0, "hcp": 1.0}
"""Nearest-neighbour distance over the lattice constant a."""
ATOMS_PER_CELL = {"fcc": 4, "bcc": 2, "diamond": 8, "sc": 1}


@dataclass(frozen=True, slots=True)
class Solid:
    """Of an element's crystal: nearest-neighbour distance (Å), volume per atom (Å³), lattice."""

    distance: float
    volume: float
    lattice: str


def solid(symbol: str) -> Solid:
    """Look an element's crystal up in ASE; a plain guess for what is no simple crystal."""
    state: dict[str, Any] = reference_states[atomic_numbers[symbol]] or {}
    lattice, a = state.get("symmetry", ""), state.get("a", 0.0)
    if lattice == "hcp":
        return Solid(a, math.sqrt(3) / 4 * a**3 * state["c/a"], lattice)
    if lattice in ATOMS_PER_CELL:
        return Solid(NEIGHBOURS[lattice] * a, a**3 / ATOMS_PER_CELL[lattice], lattice)
    return Solid(2.8, 20.0, "")


def starter(
    *,
    name: str,
    elements: Sequence[str],
    potential: str,
    level: int,
    oracle: str,
    seed: int,
) -> str:
    """Return the text of a campaign file for an equal mixture of the elements.

    Raises ConfigError for elements that ASE's EMT, when it is the oracle, does not know.
    """
    if oracle == "emt" and not set(elements) <= set(EMT_ELEMENTS):
        raise ConfigError(
            f"the oracle emt knows only {', '.join(EMT_ELEMENTS)}, not {', '.join(elements)}; name "
            "another ASE calculator, e.g. --oracle gpaw, and set it up in the file"
        )
    crystals = [solid(symbol) for symbol in elements]
    distance = min(crystal.distance for crystal in crystals)
    volume = float(np.mean([crystal.volume for crystal in crystals]))
    mass = float(np.mean([atomic_masses[atomic_numbers[symbol]] for symbol in elements]))
    density = mass / volume / GRAM_PER_CM3
    edge = volume ** (1 / 3)
    return TEMPLATE.format(
        name=name,
        seed=seed,
        potential=_potential(potential, level=level, distance=distance),
        query=_query(potential),
        composition=_composition(elements),
        edges=f"[{3.0 * edge:.1f}, {4.2 * edge:.1f}]",
        density=f"[{0.75 * density:.2f}, {1.25 * density:.2f}]",
        crystal=f"{density:.2f}",
        closest=f"{0.7 * distance:.2f}",
        halt_distance=f"{0.52 * distance:.2f}",
        oracle=oracle,
        settings="{ asap_cutoff = true }" if oracle == "emt" else "{}",
        validate=_validate(elements, crystals),
    )


def _potential(kind: str, *, level: int, distance: float) -> str:
    if kind == "mtp":
        return (
            f'kind = "mtp"             # moment tensor potential (Novikov et al. 2021)\n'
            f"level = {level}               # 2, 4, ..., 28: accuracy against speed\n"
            f"min_dist = {0.63 * distance:.2f}          # Å, a repulsive core takes over below\n"
            f"max_dist = {2.0 * distance:.2f}          # Å, the cutoff"
        )
    if kind == "lj":
        cutoff = f"cutoff = {2.0 * distance:.2f}            # Å"
        return f'kind = "lj"              # Lennard-Jones\n{cutoff}'
    return f'kind = "{kind}"          # `athanor kinds` lists its keys'


def _query(potential: str) -> str:
    return (
        'kind = "doptimality"     # grades structures by how far the potential extrapolates\n'
        'by = "atom"              # a structure is as new as its strangest atom\n'
        "save = 2.1               # above: worth a label\n"
        "halt = 10.0              # above: the trajectory is stopped"
    )


def _composition(elements: Sequence[str]) -> str:
    if len(elements) == 1:
        return f'"{elements[0]}"'
    return "{ " + ", ".join(f"{symbol} = {1 / len(elements):.4g}" for symbol in elements) + " }"


def _validate(elements: Sequence[str], crystals: Sequence[Solid]) -> str:
    """What is measured at the end; lattices only for what has a simple one."""
    return "".join(
        VALIDATE.format(symbol=symbol)
        for symbol, crystal in zip(elements, crystals, strict=True)
        if crystal.lattice in NEIGHBOURS
    )


VALIDATE = """
[[validate]]             # lattice constants, bulk moduli and the order of simple lattices
kind = "eos"
element = "{symbol}"
# every = 2              # measure after every second cycle too, not only at the end
# gate = ["*constant"]   # a potential with which these got worse is refused, the older one kept

# [[validate]]           # errors on frames of dynamics that the oracle runs: costs its labels
# kind = "heldout"
# element = "{symbol}"
"""
TEMPLATE = """\
# A campaign of athanor. Run it with:  athanor run THIS_FILE
# Killed at any moment and started again with the same line, it carries on.
# `athanor kinds` lists everything that can be chosen by `kind`, with its keys.

[campaign]
name = "{name}"
seed = {seed}                 # equal seeds give equal results
workers = 2              # processes that work at once

[potential]
{potential}

[query]
{query}

[start]
kind = "disorder"        # random disordered cells, relaxed a little before the dynamics
composition = {composition}
edges = {edges}      # Å, drawn for each edge of the cell
density = {density}   # g/cm³; the crystal has {crystal}
min_distance = {closest}      # Å, between atoms that are placed at random

[sample]
kind = "md"              # Langevin dynamics under a random temperature schedule
length_ps = 2.0
timestep_fs = 2.0
min_distance = {halt_distance}      # Å, nearer than this halts the trajectory

[sample.schedule]        # T(t) = start + (t/length)(end - start) + modulation sin²(πt/period)
start_K = [100.0, 1200.0]
end_K = [100.0, 600.0]
modulation_K = [0.0, 600.0]
period_ps = [1.0, 4.0]

[oracle]
kind = "ase"             # any calculator of ASE, by its name
calculator = "{oracle}"
settings = {settings}   # its keyword arguments

[cycle]
initial = 10             # structures labelled before the first potential
trajectories = 8         # in each cycle
labels = 12              # bought in each cycle, at most
valid_fraction = 0.1     # share of the labels kept apart to validate the fit

[stop]                   # the first rule that holds ends the campaign
untriggered_cycles = 2   # so many cycles in a row in which no trajectory was halted
max_cycles = 12
max_labels = 150
{validate}"""
