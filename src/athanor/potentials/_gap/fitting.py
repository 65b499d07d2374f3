"""From a training set to a GAP: counted, run, kept."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from athanor.data.dataset import Dataset
from athanor.data.durable import make_folder, write_file
from athanor.data.text import read_text
from athanor.errors import FitError, FormatError
from athanor.potentials._checkpoint import Checkpoint, fingerprint
from athanor.potentials._gap.command import MODEL_FILE, TRAINING_FILE, Terms, arguments
from athanor.potentials._gap.evaluation import Evaluator
from athanor.potentials._gap.forecast import check_memory, size
from athanor.potentials._gap.log import FitLog
from athanor.potentials._gap.model import GapModel, complaint, relabelled
from athanor.potentials._gap.program import run_gap_fit
from athanor.potentials._gap.settings import GapSettings
from athanor.potentials._gap.training_set import environments, extxyz_text, offsets, pairs

RUN_FOLDER = "gap_fit"
_XML = "xml"


def fit_model(
    settings: GapSettings,
    train: Dataset,
    *,
    e0: Mapping[str, float] | None,
    seed: int,
    workdir: Path,
) -> GapModel:
    """Fit with gap_fit in `workdir`; a model that is there whole already is not fitted again.

    Raises FitError, FolderError and, for atoms at one place, StructureError.
    """
    species = tuple(sorted(train.elements))
    identity = _identity(settings, train, e0, seed)
    make_folder(workdir)
    checkpoint = Checkpoint(workdir, identity)
    kept = checkpoint.read()
    if kept is None:
        xml = _fitted(settings, train, e0=e0, seed=seed, workdir=workdir)
        data = relabelled(xml, identity[:16]).encode()
        checkpoint.write({_XML: np.frombuffer(data, dtype=np.uint8)}, {})
    else:
        data = kept[0][_XML].tobytes()
    model = GapModel(species, settings.reach, data.decode())
    _check_finite(model, train)
    return model


def _fitted(
    settings: GapSettings,
    train: Dataset,
    *,
    e0: Mapping[str, float] | None,
    seed: int,
    workdir: Path,
) -> str:
    """The parameter file that gap_fit writes."""
    species = tuple(sorted(train.elements))
    counted = pairs(train, species, settings.pair_cutoff) if settings.pair else {}
    terms = Terms.of(settings, environments(train), counted)
    folder = workdir / RUN_FOLDER
    # what a killed fit left is of no use: gap_fit cannot go on from it
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    write_file(folder / TRAINING_FILE, extxyz_text(train, reach=settings.reach).encode())
    log = FitLog(workdir)
    steps = len(terms.soap) + len(terms.pair)

    def told(peak: int) -> None:
        lowered = terms.lowered(settings)
        log.forecast(
            f"expected: {size(peak)} of memory for {terms.size} sparse points"
            + (f" ({lowered})" if lowered else "")
        )
        check_memory(peak, memory_GB=settings.memory_GB)

    run_gap_fit(
        arguments(settings, terms, offsets(train, species, e0), seed=seed),
        folder=folder,
        time_limit=settings.time_limit,
        on_peak=told,
        on_covariance=lambda number: log.step(number, of=steps),
    )
    return _written(folder)


def _written(folder: Path) -> str:
    """What gap_fit wrote; FitError unless it is whole."""
    try:
        xml = read_text(folder / MODEL_FILE, expected="a potential")
    except FormatError as error:
        raise FitError(f"gap_fit ended without a potential: {error}") from None
    if why := complaint(xml):
        raise FitError(f"gap_fit left half a potential ({why}): see that the disk has room")
    return xml


def _identity(
    settings: GapSettings, train: Dataset, e0: Mapping[str, float] | None, seed: int
) -> str:
    """Of all that the bits depend on; limits of memory and time are not."""
    recipe = [
        (name, getattr(settings, name))
        for name in GapSettings.__dataclass_fields__
        if name not in ("memory_GB", "time_limit")
    ]
    parts: list[object] = ["gap", recipe, None if e0 is None else sorted(e0.items()), seed]
    for frame in train:
        atoms, labels = frame.atoms, frame.labels
        parts += [atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc]
        parts += [labels.energy, labels.forces, labels.stress]
    return fingerprint(parts)


def _check_finite(model: GapModel, train: Dataset) -> None:
    """Raise FitError where the potential is not finite on the first of its own structures."""
    found = Evaluator(model).evaluate(train[0].atoms, stress=False)
    if not (np.isfinite(found.energy) and np.isfinite(found.forces).all()):
        raise FitError(
            "gap_fit gave a potential that is not finite: raise sigma_energy, sigma_force or "
            "sparse_jitter"
        )
