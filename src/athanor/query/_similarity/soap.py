"""Power spectra of atomic environments (SOAP, eqs 1-3), by DScribe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell

from athanor.errors import StructureError, UnknownElementError
from athanor.query._similarity.coulomb import names_of
from athanor.query._similarity.extra import extra
from athanor.structure import FloatArray, check_structure

if TYPE_CHECKING:
    from athanor.query.clustering import ClusteringConfig


def species_of(structures: Iterable[Atoms]) -> tuple[str, ...]:
    """Chemical symbols that occur, in the order of the alphabet."""
    return tuple(sorted({symbol for atoms in structures for symbol in set(atoms.symbols)}))


def n_features(config: ClusteringConfig, n_species: int) -> int:
    """Length of a power spectrum: pairs of (species, radial function) times 1 + l_max."""
    pairs = n_species * config.n_max
    return pairs * (pairs + 1) // 2 * (config.l_max + 1)


def fingerprints(
    structures: Sequence[Atoms],
    config: ClusteringConfig,
    *,
    species: Sequence[str],
    names: Sequence[str] | None = None,
) -> FloatArray:
    """Mean power spectrum of each structure, (n, n_features): the bracket of eq. 9.

    Fingerprints are comparable only where they are made with the same `species`. They do not
    change when atoms are permuted or put into another periodic image, nor when the structure is
    rotated or repeated, up to rounding. Errors call structures by `names`, by default by number.

    Raises
    ------
    StructureError : a structure that cannot be described (NaN, singular cell), or a fingerprint
        that is not finite.
    UnknownElementError : an element that is not in `species`.
    MissingExtraError : DScribe is not installed.
    """
    describe = _Describer(config, species, average="outer")
    called = names_of(structures, names)
    rows = [describe(atoms, name) for atoms, name in zip(structures, called, strict=True)]
    return np.array(rows).reshape(len(rows), n_features(config, len(describe.species)))


def atom_fingerprints(
    structures: Sequence[Atoms],
    config: ClusteringConfig,
    *,
    species: Sequence[str],
    names: Sequence[str] | None = None,
) -> list[FloatArray]:
    """Power spectra of all atoms of each structure, (n_atoms, n_features) each; raises the same."""
    describe = _Describer(config, species, average="off")
    called = names_of(structures, names)
    return [describe(atoms, name) for atoms, name in zip(structures, called, strict=True)]


class _Describer:
    """DScribe's descriptor for periodic and for finite structures."""

    def __init__(self, config: ClusteringConfig, species: Sequence[str], *, average: str) -> None:
        self.species = tuple(config.species or sorted(set(species)))
        self._config = config
        self._average = average
        self._made: dict[bool, Any] = {}

    def __call__(self, atoms: Atoms, name: str) -> FloatArray:
        check_structure(atoms, where=name)
        strange = sorted(set(atoms.symbols) - set(self.species))
        if strange:
            raise UnknownElementError(
                f"{name}: it holds {', '.join(strange)}, and similarities are measured "
                f"for {', '.join(self.species)}; name all elements in species, or leave it out"
            )
        found = np.asarray(
            self._descriptor(bool(atoms.pbc.any())).create_single(_wrapped(atoms)), np.float64
        )
        if not np.isfinite(found).all():
            raise StructureError(
                f"{name}: its SOAP fingerprint is not finite; leave the structure out"
            )
        return found

    def _descriptor(self, periodic: bool) -> Any:
        if periodic not in self._made:
            with extra():
                from dscribe.descriptors import SOAP
            config = self._config
            self._made[periodic] = SOAP(
                r_cut=config.cutoff,
                n_max=config.n_max,
                l_max=config.l_max,
                sigma=config.sigma,
                rbf=config.basis,
                species=self.species,
                periodic=periodic,
                average=self._average,
            )
        return self._made[periodic]


def _wrapped(atoms: Atoms) -> Atoms:
    """The geometry with all atoms inside the cell along periodic directions.

    DScribe repeats the cell as far as the cutoff reaches from the cell, and loses neighbours of
    atoms that lie outside it. Vectors of open directions do not matter to it, but must be there.
    """
    if not atoms.pbc.any():
        return Atoms(numbers=atoms.numbers, positions=atoms.positions)
    cell = atoms.cell.array.copy()
    cell[~atoms.pbc] = 0.0
    cell = complete_cell(cell)
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    shifts = np.where(atoms.pbc, np.floor(fractions), 0.0)
    return Atoms(
        numbers=atoms.numbers, positions=atoms.positions - shifts @ cell, cell=cell, pbc=atoms.pbc
    )
