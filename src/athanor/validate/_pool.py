"""A pool of candidates, and its relaxation by one calculator, batch by batch, each kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from athanor.calculator import PotentialCalculator
from athanor.data.durable import write_file
from athanor.data.packing import npz_bytes, pack_structures, read_npz, unpack_structures
from athanor.errors import AthanorError, FormatError, StructureError, UnknownElementError
from athanor.potentials import Potential
from athanor.sample.relax import RelaxOptions, relax
from athanor.structure import FloatArray, Labels, bare, structure_id
from athanor.validate._alone import Tell

BATCH = 50
"""Candidates kept in one file, and lost together when a run is killed."""
SHEARED = 0.1
"""Strain without the change of volume beyond which it is another lattice (Bain's is 0.26)."""
MOVED = 0.25
"""Part of the cube root of an atom's volume that an atom may move against the others."""
WENT_WRONG = {
    "steps": "did not come to rest within the steps",
    "stuck": "did not come to rest though no step led further down",
}
"""Ends of a relaxation that say nothing of their own."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Candidates by name, with energies in eV where the file gives them."""

    names: tuple[str, ...]
    structures: tuple[Atoms, ...]
    labelled: FloatArray | None = None

    @property
    def species(self) -> tuple[str, ...]:
        return tuple(sorted({symbol for atoms in self.structures for symbol in set(atoms.symbols)}))


@dataclass(frozen=True, slots=True)
class Rested:
    """Where a candidate came to.

    Attributes
    ----------
    energy : eV; NaN where it came to no rest.
    why : what went wrong, one phrase; empty where nothing did.
    transformed : whether it left its lattice.
    atoms : the relaxed structure.
    evaluations : of the calculator.
    """

    energy: float
    why: str
    transformed: bool
    atoms: Atoms
    evaluations: int


class Evaluated:
    """What `relax` asks of a potential, answered by any ASE calculator; counts its evaluations."""

    def __init__(self, calculator: Calculator) -> None:
        self.calls = 0
        self._calculator = calculator
        self._potential: Potential | None = None
        if isinstance(calculator, PotentialCalculator):
            # without the copies that ASE's calculators make of every structure
            self._potential = calculator.potential

    def predict(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Labels]:
        """Labels; StructureError for what the calculator refuses, in its own words."""
        self.calls += len(structures)
        if self._potential is not None:
            return self._potential.predict(structures, stress=stress)
        return [self._one(atoms) for atoms in structures]

    def _one(self, atoms: Atoms) -> Labels:
        moving = bare(atoms)
        try:
            moving.calc = self._calculator
            return Labels(
                float(moving.get_potential_energy()),
                np.array(moving.get_forces()),
                np.array(moving.get_stress(voigt=False)) if moving.pbc.all() else None,
            )
        except UnknownElementError:
            raise
        except Exception as error:  # a calculator is anybody's code, and may refuse in any way
            said = " ".join(str(error).split()) or type(error).__name__
            raise StructureError(said) from error


def rested(
    structures: Sequence[Atoms],
    calculator: Calculator,
    *,
    options: RelaxOptions,
    workdir: Path,
    tell: Tell,
) -> Iterator[Rested]:
    """Relax each; batches that lie in `workdir` are not done again. Raises UnknownElementError."""
    for first in range(0, len(structures), BATCH):
        batch = structures[first : first + BATCH]
        kept = workdir / f"relaxed-{first:06d}.npz"
        found = _read(kept, batch)
        if found is None:
            tell(first / len(structures), f"relaxing candidate {first + 1} of {len(structures)}")
            found = [_rested(atoms, calculator, options) for atoms in batch]
            _write(kept, batch, found)
        yield from found


def static(pool: Pool, calculator: Calculator) -> tuple[FloatArray, tuple[str, ...]]:
    """Energies of the structures as they are, NaN for those the calculator refuses."""
    evaluated = Evaluated(calculator)
    energies = np.full(len(pool.structures), np.nan)
    refused = []
    for index, atoms in enumerate(pool.structures):
        try:
            (labels,) = evaluated.predict([atoms])
        except StructureError as error:
            refused.append(f"{pool.names[index]}: {error}")
        else:
            energies[index] = labels.energy
    if not refused:
        return energies, ()
    return energies, (
        f"{len(refused)} of {len(energies)} candidates are left out, the first of them "
        f"{refused[0]}",
    )


def _rested(atoms: Atoms, calculator: Calculator, options: RelaxOptions) -> Rested:
    evaluated = Evaluated(calculator)
    try:
        found = relax(atoms, evaluated, options=options)  # type: ignore[arg-type] # only predicts
    except UnknownElementError:
        raise
    except AthanorError as error:
        return Rested(np.nan, str(error), False, bare(atoms), evaluated.calls)
    why = ""
    if not found.converged:
        why = found.error or WENT_WRONG.get(found.stopped_by, found.stopped_by)
    energy = found.labels.energy if found.converged else np.nan
    gone = found.converged and transformed(atoms, found.atoms)
    return Rested(energy, why, gone, found.atoms, evaluated.calls)


def transformed(before: Atoms, after: Atoms) -> bool:
    """Whether a crystal left its lattice: sheared, or its atoms displaced against each other.

    A change of volume alone is none.
    """
    change = np.linalg.solve(before.cell.array, after.cell.array)
    stretches = np.linalg.svd(change, compute_uv=False)
    if np.abs(stretches / np.cbrt(np.prod(stretches)) - 1).max() > SHEARED:
        return True
    moved: FloatArray = after.positions - before.positions @ change
    moved = moved - moved.mean(axis=0)
    room = np.cbrt(after.get_volume() / len(after))
    return bool(np.linalg.norm(moved, axis=1).max() > MOVED * room)


def summary(found: Sequence[Rested], names: Sequence[str]) -> tuple[str, ...]:
    """Sentences on what went wrong, the commonest first."""
    notes = []
    reasons = Counter(one.why for one in found if one.why)
    for why, count in reasons.most_common(3):
        name = next(name for name, one in zip(names, found, strict=True) if one.why == why)
        said = f"{count} of {len(found)} candidates are left out"
        notes.append(f"{said}, the first of them {name}: {why}")
    if len(reasons) > 3:
        rest = sum(count for _, count in reasons.most_common()[3:])
        notes.append(f"{rest} more candidates are left out for other reasons")
    gone = sum(one.transformed for one in found)
    if gone:
        notes.append(f"{gone} of {len(found)} candidates left their lattice while relaxing")
    return tuple(notes)


def _write(path: Path, batch: Sequence[Atoms], found: Sequence[Rested]) -> None:
    arrays = pack_structures([one.atoms for one in found])
    arrays["energy"] = np.array([one.energy for one in found])
    arrays["why"] = np.array([one.why for one in found], dtype=np.str_)
    arrays["transformed"] = np.array([one.transformed for one in found])
    arrays["evaluations"] = np.array([one.evaluations for one in found])
    arrays["of"] = np.array([structure_id(atoms) for atoms in batch], dtype=np.str_)
    write_file(path, npz_bytes(arrays))


def _read(path: Path, batch: Sequence[Atoms]) -> list[Rested] | None:
    """The batch as it was kept, None where it was not, or not whole, or of other structures."""
    try:
        arrays = read_npz(path)
        if arrays["of"].tolist() != [structure_id(atoms) for atoms in batch]:
            return None
        each = zip(
            *(arrays[name].tolist() for name in ("energy", "why", "transformed")),
            unpack_structures(arrays),
            arrays["evaluations"].tolist(),
            strict=True,
        )
        return [Rested(*one) for one in each]
    except (FormatError, KeyError, ValueError):
        return None
