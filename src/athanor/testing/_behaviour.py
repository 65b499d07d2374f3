"""Checks of manners: batches, inputs left alone, files, processes, refusals."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from athanor.calculator import calculator
from athanor.errors import AthanorError, FolderError, StructureError, UnknownElementError
from athanor.potentials import (
    HasFeatures,
    HasMeanFeatures,
    HasMembers,
    Potential,
    predict_with_features,
)
from athanor.structure import FloatArray, Labels
from athanor.testing._subject import Subject, close, demand, name, same_labels

_POOL_TIMEOUT = 300.0


def check_statement(subject: Subject) -> None:
    """Elements are chemical symbols, the cutoff is a finite length, `provides` tells the truth."""
    potential = subject.potential
    demand(isinstance(potential, Potential), "the example does not satisfy the Potential protocol")
    demand(len(potential.elements) > 0, "the potential knows no element")
    Atoms(sorted(potential.elements))  # KeyError for what is no chemical symbol
    demand(bool(0 < potential.cutoff < np.inf), f"the cutoff is {potential.cutoff}")
    for word, contract in (("features", HasFeatures), ("ensemble", HasMembers)):
        promised = word in subject.recipe.provides
        demand(
            promised == isinstance(potential, contract),
            f"provides {'has' if promised else 'lacks'} {word!r}, but the potential says otherwise",
        )


def check_batch(subject: Subject) -> None:
    """A batch gives what its structures give one by one; an empty batch gives an empty list."""
    batch = subject.zoo(subject.rng())
    together = subject.potential.predict(batch)
    demand(len(together) == len(batch), f"{len(together)} labels for {len(batch)} structures")
    for atoms, labels in zip(batch, together, strict=True):
        what = f"{name(atoms)} in a batch"
        same_labels(labels, subject.one(atoms), what=what, within=1e-12)
    demand(subject.potential.predict([]) == [], "predict([]) is not []")
    demand(
        not isinstance(subject.potential, HasFeatures) or subject.potential.features([]) == [],
        "features([]) is not []",
    )


def check_without_stress(subject: Subject) -> None:
    """`stress=False` changes neither energy nor forces."""
    batch = subject.zoo(subject.rng())
    for atoms, labels in zip(batch, subject.potential.predict(batch, stress=False), strict=True):
        full = subject.one(atoms)
        close(labels.energy, full.energy, within=1e-12, what=f"{name(atoms)}, stress off: energy")
        close(labels.forces, full.forces, within=1e-12, what=f"{name(atoms)}, stress off: forces")


def check_input_untouched(subject: Subject) -> None:
    """The structures come back as they were: geometry, info, arrays and calculator."""
    for atoms in subject.zoo(subject.rng()):
        atoms.info["origin"] = "ours"
        atoms.arrays["weight"] = np.arange(len(atoms), dtype=float)
        front = SinglePointCalculator(atoms, energy=1.0)
        atoms.calc = front
        before = atoms.copy()
        subject.one(atoms)
        if isinstance(subject.potential, HasFeatures):
            subject.potential.features([atoms])
        demand(atoms.calc is front, f"{name(atoms)}: the calculator was replaced")
        demand(atoms.info == before.info, f"{name(atoms)}: info was changed to {atoms.info}")
        demand(
            set(atoms.arrays) == set(before.arrays)
            and all(np.array_equal(atoms.arrays[key], before.arrays[key]) for key in atoms.arrays),
            f"{name(atoms)}: positions or other arrays were changed",
        )
        demand(
            np.array_equal(atoms.cell.array, before.cell.array)
            and np.array_equal(atoms.pbc, before.pbc),
            f"{name(atoms)}: cell or pbc was changed",
        )


def check_repeatable(subject: Subject) -> None:
    """The same call gives the same bits, and results of earlier calls are left alone."""
    batch = subject.zoo(subject.rng())
    first = subject.potential.predict(batch)
    kept = [_bits(labels) for labels in first]
    again = [_bits(labels) for labels in subject.potential.predict(batch)]
    demand(again == kept, "the same call gives other bits the second time")
    demand([_bits(labels) for labels in first] == kept, "a call changed results given earlier")


def check_save_load(subject: Subject) -> None:
    """What was saved loads bit-equal, and is never written over."""
    batch = subject.zoo(subject.rng())
    expected = [_bits(labels) for labels in subject.potential.predict(batch)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "saved"
        subject.potential.save(folder)
        demand([path.name for path in Path(scratch).iterdir()] == ["saved"], "save left rubbish")
        _refused(lambda: subject.potential.save(folder), FolderError, "saving over a folder")
        loaded = subject.recipe.load(folder)
    demand(loaded.elements == subject.potential.elements, "the loaded elements differ")
    demand(loaded.cutoff == subject.potential.cutoff, "the loaded cutoff differs")
    found = [_bits(labels) for labels in loaded.predict(batch)]
    demand(found == expected, "the loaded potential gives other bits than the one that was saved")


def check_process_pool(subject: Subject) -> None:
    """It pickles into a fresh process and gives the same bits there."""
    batch = subject.zoo(subject.rng())
    expected = [_bits(labels) for labels in subject.potential.predict(batch)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        sent = pool.submit(_predict_bits, subject.potential, batch)
        found = sent.result(timeout=_POOL_TIMEOUT)
    demand(found == expected, "another process gives other bits")


def check_unknown_element(subject: Subject) -> None:
    """An element the potential does not know is refused by name, wherever it stands."""
    stranger = next(e for e in ("Xe", "Kr", "Ne") if e not in subject.potential.elements)
    batch = subject.zoo(subject.rng())
    for atoms in batch:
        atoms.symbols[len(atoms) // 2] = stranger
        message = _refused(
            partial(subject.one, atoms), UnknownElementError, f"{name(atoms)} with {stranger}"
        )
        demand(stranger in message, f"the refusal of {stranger} does not name it: {message}")


def check_bad_structures(subject: Subject) -> None:
    """NaN, infinity, a singular cell, coincident atoms and no atoms are each a StructureError."""
    rng = subject.rng()
    for label, spoil in _SPOILERS.items():
        atoms = subject.dense(rng, repeats=(2, 2, 1))
        spoil(atoms)
        _refused(partial(subject.one, atoms), StructureError, label)


def check_calculator(subject: Subject) -> None:
    """The ASE front gives the same numbers."""
    for atoms in subject.zoo(subject.rng()):
        expected = subject.one(atoms)
        atoms.calc = calculator(subject.potential)
        what = f"ASE calculator, {name(atoms)}"
        close(atoms.get_potential_energy(), expected.energy, within=1e-12, what=what)
        close(atoms.get_forces(), expected.forces, within=1e-12, what=what)
        if expected.stress is not None:
            voigt = full_3x3_to_voigt_6_stress(expected.stress)
            close(atoms.get_stress(), voigt, within=1e-12, what=what)


def check_features(subject: Subject) -> None:
    """Features, where there are any: one finite row per atom, that follows the atom around."""
    potential, rng = subject.potential, subject.rng()
    if not isinstance(potential, HasFeatures):
        return
    batch = subject.zoo(rng)
    tables = potential.features(batch)
    both = predict_with_features(potential, batch)
    demand(predict_with_features(potential, []) == [], "predict_with_features([]) is not []")
    columns = {table.shape[1:] for table in tables}
    demand(len(columns) == 1, f"features have different numbers of parameters: {columns}")
    for atoms, table, (labels, same) in zip(batch, tables, both, strict=True):
        what = f"features of {name(atoms)}"
        same_labels(labels, subject.one(atoms), what=f"{name(atoms)}, with features")
        close(same, table, within=1e-12, what=f"{what}, with labels")
        demand(len(table) == len(atoms), f"{what}: {len(table)} rows")
        close(potential.features([atoms])[0], table, within=1e-12, what=f"{what}, alone")
        _check_means(potential, atoms, table, labels)
        order = rng.permutation(len(atoms))
        moved = atoms[order]
        moved.positions += rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc @ atoms.cell.array
        again = potential.features([moved])[0]
        close(again, table[order], within=1e-9, what=f"{what}, renumbered and moved to images")


def _check_means(potential: object, atoms: Atoms, table: FloatArray, labels: Labels) -> None:
    """Mean features, where there are any, are the means of features."""
    if not isinstance(potential, HasMeanFeatures):
        return
    what, mean = f"mean features of {name(atoms)}", table.mean(axis=0)
    close(potential.mean_features([atoms]), mean[None], within=1e-9, what=what)
    ((same, row),) = potential.predict_with_mean_features([atoms])
    close(row, mean, within=1e-9, what=f"{what}, with labels")
    same_labels(same, labels, what=f"{name(atoms)}, with mean features")


def check_members(subject: Subject) -> None:
    """Members, where there are any: each is a potential, and predictions are their means."""
    potential = subject.potential
    if not isinstance(potential, HasMembers):
        return
    members = potential.members
    demand(len(members) > 0, "the ensemble has no members")
    demand(
        all(isinstance(member, Potential) for member in members),
        "a member of the ensemble is no potential",
    )
    batch = subject.zoo(subject.rng())
    table = potential.predict_each(batch)
    demand(len(table) == len(batch), f"predict_each: {len(table)} rows, {len(batch)} structures")
    for atoms, each in zip(batch, table, strict=True):
        demand(len(each) == len(members), f"predict_each: {len(each)} of {len(members)} members")
        for number, (member, labels) in enumerate(zip(members, each, strict=True)):
            what = f"member {number} on {name(atoms)}"
            same_labels(labels, member.predict([atoms])[0], what=what, within=1e-12)
        same_labels(subject.one(atoms), _mean(each), what=f"{name(atoms)}, mean of members")
    demand(potential.predict_each([]) == [], "predict_each([]) is not []")


def _mean(each: Sequence[Labels]) -> Labels:
    stresses = [labels.stress for labels in each if labels.stress is not None]
    return Labels(
        float(np.mean([labels.energy for labels in each])),
        np.mean([labels.forces for labels in each], axis=0),
        np.mean(stresses, axis=0) if stresses else None,
    )


def _coincide(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0]


def _coincide_with_image(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0] + atoms.cell.array[2] - atoms.cell.array[0]


def _not_a_number(atoms: Atoms) -> None:
    atoms.positions[-1, 1] = np.nan


def _infinite(atoms: Atoms) -> None:
    atoms.positions[0, 2] = np.inf


def _cell_not_a_number(atoms: Atoms) -> None:
    atoms.cell[1, 1] = np.nan


def _flat_cell(atoms: Atoms) -> None:
    atoms.cell[2] = atoms.cell[0] + atoms.cell[1]


def _no_vector(atoms: Atoms) -> None:
    atoms.cell[1] = 0.0


def _empty(atoms: Atoms) -> None:
    del atoms[:]


_SPOILERS: dict[str, Callable[[Atoms], None]] = {
    "two atoms at one place": _coincide,
    "an atom at the place of another's periodic image": _coincide_with_image,
    "a position that is NaN": _not_a_number,
    "a position that is infinite": _infinite,
    "a cell that is NaN": _cell_not_a_number,
    "linearly dependent cell vectors": _flat_cell,
    "a periodic direction without a cell vector": _no_vector,
    "a structure without atoms": _empty,
}


def _refused(action: Callable[[], object], error: type[AthanorError], what: str) -> str:
    """Demand that `action` raises `error`; return its message."""
    try:
        action()
    except error as raised:
        return str(raised)
    except Exception as raised:
        demand(False, f"{what}: raises {raised!r}, expected {error.__name__}")
    demand(False, f"{what}: is accepted, expected {error.__name__}")
    return ""


def _bits(labels: Labels) -> tuple[str, bytes, bytes | None]:
    """Labels as something that is equal only when every bit is."""

    def raw(array: FloatArray) -> bytes:
        return np.ascontiguousarray(array, dtype=np.float64).tobytes()

    stress = None if labels.stress is None else raw(labels.stress)
    return float(labels.energy).hex(), raw(labels.forces), stress


def _predict_bits(
    potential: Potential, batch: Sequence[Atoms]
) -> list[tuple[str, bytes, bytes | None]]:
    return [_bits(labels) for labels in potential.predict(batch)]
