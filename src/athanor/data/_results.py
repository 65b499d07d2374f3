"""Labels that other programs left in a file: where ASE puts them and under which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from athanor.errors import LabelError
from athanor.structure import FloatArray, Labels, bare, check_labels

PREFIXES = ("", "REF_", "ref_", "DFT_", "dft_")
ENERGY = ("free_energy", "energy")
FORCES = ("forces", "force")
STRESS = ("stress",)
VIRIAL = ("virial", "virials")


def labels_of(atoms: Atoms, *, where: str, forces_optional: bool = False) -> Labels | None:
    """Return the labels that ASE read, None where energy or forces are missing.

    With `forces_optional` a structure that has an energy and no forces has labels with NaN for
    forces.

    Calculator results come first, then info and arrays under their plain names and with the
    prefixes REF_ and DFT_. Where one prefix has both energy and forces, it comes before the others:
    two levels of theory in one file are not mixed. Of two energies the free energy of a smeared
    calculation is taken, since forces are its derivatives (`force_consistent` in ASE). A virial
    (eV) stands for a stress of -virial / V.

    Raises LabelError when a label is not numeric, not finite or not shaped for the structure, and
    for energies of several prefixes without forces, which would tell them apart.
    """
    places = _places(atoms)
    prefixes = _preferred(places)
    energy, forces = _find(places, ENERGY, prefixes), _find(places, FORCES, prefixes)
    absent = forces is None
    if energy is None or (absent and not forces_optional):
        return None
    if absent:
        _check_one_level(places, where)
        forces = np.full((len(atoms), 3), np.nan)
    energies = _numbers(energy, "energy", where)
    if energies.size != 1:
        raise LabelError(f"{where}: the energy is {energies.size} numbers, expected one")
    labels = Labels(
        energy=float(energies.ravel()[0]),
        forces=_numbers(forces, "forces", where),
        stress=_stress(atoms, places, prefixes, where=where),
    )
    check_labels(labels, len(atoms), where=where, forces_optional=absent)
    return labels


def source_of(atoms: Atoms) -> str:
    """The prefix under which `labels_of` finds the energy of a structure that has labels."""
    places = _places(atoms)
    prefixes = _preferred(places)
    return next((one for one in prefixes if _find(places, ENERGY, [one]) is not None), "")


def renamed(atoms: Atoms, names: Mapping[str, str]) -> Atoms:
    """A copy whose only labels are those under these names: label (energy, ...) -> name there."""
    copy = bare(atoms)
    for label, name in names.items():
        value = _find(_places(atoms), (name,), ("",))
        if value is not None:
            copy.info[label] = value
    return copy


def _places(atoms: Atoms) -> list[dict[str, Any]]:
    results = [] if atoms.calc is None else [atoms.calc.results]
    return [*results, atoms.info, atoms.arrays]


def _preferred(places: list[dict[str, Any]]) -> list[str]:
    """The prefixes, first those with both energy and forces."""
    return sorted(PREFIXES, key=lambda prefix: not _has_both(places, prefix))


def _check_one_level(places: list[dict[str, Any]], where: str) -> None:
    names = [prefix for prefix in PREFIXES if _find(places, ENERGY, [prefix]) is not None]
    if len(names) > 1:
        raise LabelError(
            f"{where}: it has no forces and several energies, with the prefixes "
            f"{', '.join(repr(name) for name in names)}; leave the one to train on"
        )


def _has_both(places: list[dict[str, Any]], prefix: str) -> bool:
    return all(_find(places, names, [prefix]) is not None for names in (ENERGY, FORCES))


def _find(
    places: list[dict[str, Any]], names: tuple[str, ...], prefixes: Sequence[str]
) -> object | None:
    found = (place.get(prefix + name) for prefix in prefixes for name in names for place in places)
    return next((value for value in found if value is not None), None)


def _numbers(value: object, name: str, where: str) -> FloatArray:
    if isinstance(value, bool | str):
        raise LabelError(f"{where}: the {name} is {str(value)[:40]!r}, expected numbers")
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise LabelError(f"{where}: the {name} cannot be read, expected numbers") from None


def _stress(
    atoms: Atoms, places: list[dict[str, Any]], prefixes: Sequence[str], *, where: str
) -> FloatArray | None:
    if not atoms.pbc.all():
        return None
    stress, virial = _find(places, STRESS, prefixes), _find(places, VIRIAL, prefixes)
    if stress is not None:
        return _tensor(_numbers(stress, "stress", where), "stress", where)
    if virial is None:
        return None
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    return -_tensor(_numbers(virial, "virial", where), "virial", where) / volume


def _tensor(value: FloatArray, name: str, where: str) -> FloatArray:
    if value.shape == (6,):
        xx, yy, zz, yz, xz, xy = value
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if value.size != 9:
        raise LabelError(f"{where}: the {name} has {value.size} numbers, expected 9 or 6 (Voigt)")
    tensor = value.reshape(3, 3)
    return np.asarray((tensor + tensor.T) / 2)
