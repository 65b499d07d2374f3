"""Fits of ANI ensembles: what comes out, what the log says, and everything that is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from athanor.data.dataset import Dataset
from athanor.errors import ConfigError, FitError, MissingExtraError, StructureError
from athanor.potentials._ani import trainer
from athanor.potentials._ani.evaluation import Evaluation
from athanor.potentials._ani.fit import device_of
from athanor.potentials.ani import AniConfig, AniPotential
from athanor.structure import Frame, Labels

SMALL: dict[str, Any] = {
    "size": 3,
    "layers": (12, 8),
    "radial_cutoff": 4.5,
    "angular_cutoff": 3.6,
    "n_radial": 6,
    "n_shells": 3,
    "n_angles": 3,
    "l0": 1.0,
    "batch_size": 4,
    "max_epochs": 30,
    "learning_rate": 1e-2,
    "threads": 1,
}


def recipe(**changes: Any) -> AniConfig:
    return AniConfig.parse({**SMALL, **changes}, where="the test")


def structures(seed: int, count: int, *, mixed: bool = True) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        atoms = bulk("Al", a=rng.uniform(3.8, 4.3), cubic=True)
        atoms.rattle(0.2, rng=rng)
        if mixed:
            atoms.symbols = rng.choice(["Al", "Ni"], size=len(atoms))
        found.append(atoms)
    return found


def data(seed: int, count: int, *, mixed: bool = True) -> Dataset:
    """Small cells labelled by random networks with atomic energies of their own."""
    teacher = AniConfig.example(seed=7)
    cells = structures(seed, count, mixed=mixed)
    return Dataset.of(
        Frame(a, labels, origin=f"file.xyz frame {k}")
        for k, (a, labels) in enumerate(zip(cells, teacher.predict(cells), strict=True))
    )


TRAIN, VALID, TEST = data(1, 24), data(2, 6), data(3, 8)


def fitted(
    folder: Path, *, train: Dataset = TRAIN, valid: Dataset = VALID, **changes: Any
) -> AniPotential:
    start = changes.pop("start", None)
    found = recipe(**changes).fit(train, valid, seed=5, workdir=folder, start=start)
    assert isinstance(found, AniPotential)
    return found


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "fit.jsonl").read_text().splitlines()]


def errors(potential: AniPotential, test: Dataset = TEST) -> tuple[float, float, float]:
    """RMS errors: eV per atom, eV/Å, eV/Å³."""
    pairs = list(zip(potential.predict(test.structures), test.labels, strict=True))
    energy = [(a.energy - b.energy) / len(b.forces) for a, b in pairs]
    forces = np.concatenate([a.forces - b.forces for a, b in pairs])
    stress = [
        a.stress - b.stress for a, b in pairs if a.stress is not None and b.stress is not None
    ]
    rms = [float(np.sqrt(np.mean(np.square(x)))) for x in (energy, forces, stress)]
    return rms[0], rms[1], rms[2]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[AniPotential, Path]:
    folder = tmp_path_factory.mktemp("plain")
    return fitted(folder), folder


def spread(test: Dataset) -> tuple[float, float]:
    """What a potential of atomic energies alone is off by."""
    energies = np.array([f.labels.energy / len(f.atoms) for f in test])
    forces = np.concatenate([f.labels.forces for f in test])
    return float(energies.std()), float(np.sqrt(np.mean(forces**2)))


def test_a_fit_learns(plain: tuple[AniPotential, Path]) -> None:
    potential, folder = plain
    energy, force, _ = errors(potential)
    before = spread(TEST)
    assert energy < 0.1 * before[0]
    assert force < 0.6 * before[1]
    epochs = [line for line in lines(folder) if "step" in line]
    assert [line["step"] for line in epochs] == list(range(1, 31))
    assert epochs[-1]["loss"] < 0.1 * epochs[0]["loss"]
    assert epochs[-1]["valid_loss"] < 0.4 * epochs[0]["valid_loss"]
    assert all(line["atoms_per_s"] > 0 and line["steps"] == 30 for line in epochs)


def test_what_it_takes_is_said_first(plain: tuple[AniPotential, Path]) -> None:
    first = lines(plain[1])[0]
    assert list(first) == ["forecast"]
    assert "30 epochs" in first["forecast"]
    assert "MB of memory for a step" in first["forecast"]


def test_members_differ_and_equal_arguments_give_equal_bits(
    plain: tuple[AniPotential, Path], tmp_path: Path
) -> None:
    again = fitted(tmp_path)
    for one, other in zip(plain[0].model.networks, again.model.networks, strict=True):
        for a, b in zip(one.weights, other.weights, strict=True):
            assert np.array_equal(a, b)
    each = plain[0].predict_each([TEST[0].atoms])[0]
    assert len({labels.energy for labels in each}) == 3


def test_torch_is_left_as_it_was(tmp_path: Path) -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        fitted(tmp_path / "a", max_epochs=1)
        assert torch.get_num_threads() == 2
        with pytest.raises(FitError):
            fitted(tmp_path / "b", train=Dataset())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("resample", ["split", "none"])
def test_other_resampling(resample: str, tmp_path: Path) -> None:
    potential = fitted(tmp_path, resample=resample, max_epochs=10)
    assert errors(potential)[0] < spread(TEST)[0]
    assert lines(tmp_path)[-1]["valid_loss"] is not None


def test_without_validation_it_goes_on_to_the_end(tmp_path: Path) -> None:
    potential = fitted(tmp_path, valid=Dataset(), patience=1, max_epochs=12)
    epochs = [line for line in lines(tmp_path) if "step" in line]
    assert len(epochs) == 12
    assert all(line["valid_loss"] is None and line["running"] == 3 for line in epochs)
    assert errors(potential)[0] < spread(TEST)[0]
    assert "3 networks have no validation set" in lines(tmp_path)[0]["forecast"]


def test_more_parts_than_frames(tmp_path: Path) -> None:
    """With split, whoever got no frame to be validated by learns to the last epoch."""
    potential = fitted(
        tmp_path, train=TRAIN.subset(range(2)), valid=Dataset(), resample="split", max_epochs=4
    )
    assert "1 networks have no validation set" in lines(tmp_path)[0]["forecast"]
    assert np.isfinite(errors(potential)).all()


def test_members_end_early(tmp_path: Path) -> None:
    """No patience at all and rates that fall at once: every member ends before the last epoch."""
    fitted(tmp_path, learning_rate=0.9, patience=1, decay=0.01, final_rate=0.1, max_epochs=200)
    epochs = [line for line in lines(tmp_path) if "step" in line]
    assert len(epochs) < 200
    assert epochs[-1]["running"] == 0
    assert epochs[0]["running"] == 3


def test_stress_in_the_loss(plain: tuple[AniPotential, Path], tmp_path: Path) -> None:
    without = errors(plain[0])[2]
    assert errors(fitted(tmp_path, stress_weight=1.0))[2] < without


def test_energies_per_atom_and_displaced_route_and_double(tmp_path: Path) -> None:
    one = fitted(tmp_path / "1", per_atom=True, precision="float64", max_epochs=8)
    other = fitted(
        tmp_path / "2", per_atom=True, precision="float64", max_epochs=8, route="displaced"
    )
    assert one.precision == "float64"
    for a, b in zip(one.predict(TEST.structures), other.predict(TEST.structures), strict=True):
        assert a.energy == pytest.approx(b.energy, abs=0.02)
    assert errors(one)[0] < spread(TEST)[0]


def test_vectors_made_anew_change_no_bits(plain: tuple[AniPotential, Path], tmp_path: Path) -> None:
    again = fitted(tmp_path, memory_GB=0.0)
    assert "none kept" in lines(tmp_path)[0]["forecast"]
    weights = [p.model.networks[0].weights[1] for p in (plain[0], again)]
    assert np.array_equal(*weights)


def test_a_fit_goes_on_from_a_potential(plain: tuple[AniPotential, Path], tmp_path: Path) -> None:
    more = fitted(tmp_path, start=plain[0], refit_epochs=4, learning_rate=1e-3)
    epochs = [line for line in lines(tmp_path) if "step" in line]
    assert len(epochs) == 4
    assert epochs[0]["valid_loss"] < 1.5 * lines(plain[1])[-1]["valid_loss"]
    assert errors(more)[1] < 1.3 * errors(plain[0])[1]


def test_a_start_of_another_shape_is_not_used(
    plain: tuple[AniPotential, Path], tmp_path: Path
) -> None:
    fresh = fitted(tmp_path / "a", layers=(12, 7), max_epochs=3)
    given = fitted(tmp_path / "b", layers=(12, 7), max_epochs=3, start=plain[0])
    assert np.array_equal(fresh.model.networks[0].weights[0], given.model.networks[0].weights[0])
    assert len([line for line in lines(tmp_path / "b") if "step" in line]) == 3


def test_elements_that_only_one_set_has(tmp_path: Path) -> None:
    potential = fitted(tmp_path, train=data(4, 6, mixed=False), max_epochs=2)
    assert potential.elements == {"Al", "Ni"}
    with pytest.raises(ConfigError, match=r"species = Al, but the training set also holds Ni"):
        fitted(tmp_path / "b", species=("Al",))


def test_a_single_frame(tmp_path: Path) -> None:
    potential = fitted(tmp_path, train=TRAIN.subset([0]), valid=Dataset(), max_epochs=2)
    assert np.isfinite(errors(potential)).all()


def test_no_frames() -> None:
    with pytest.raises(FitError, match="training set is empty"):
        recipe(species=("Al",)).fit(Dataset(), Dataset(), seed=1, workdir=Path("/nowhere"))


def test_frames_without_forces(tmp_path: Path) -> None:
    labels = TRAIN[3].labels
    bad = replace(TRAIN[3], labels=Labels(labels.energy, np.full((4, 3), np.nan), labels.stress))
    mixed = Dataset((*TRAIN.frames[:3], bad, *TRAIN.frames[4:]))
    with pytest.raises(FitError, match=r"frame 3 \(file.xyz frame 3\).*no forces"):
        fitted(tmp_path / "a", train=mixed)
    potential = fitted(tmp_path / "b", train=mixed, without_forces="energy", max_epochs=3)
    assert np.isfinite(errors(potential)).all()


def test_coincident_atoms_are_named(tmp_path: Path) -> None:
    atoms = TRAIN[2].atoms.copy()
    atoms.positions[1] = atoms.positions[0]
    bad = Dataset((*TRAIN.frames[:2], replace(TRAIN[2], atoms=atoms), *TRAIN.frames[3:]))
    with pytest.raises(StructureError, match=r"frame 2 \(file.xyz frame 2\)"):
        fitted(tmp_path, train=bad)


def test_a_loss_that_is_not_finite_names_the_worst_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label that is wrong by far, and gradients that break in the third epoch."""
    labels = TRAIN[9].labels
    wrong = replace(TRAIN[9], labels=replace(labels, forces=1e4 * labels.forces))
    train = Dataset((*TRAIN.frames[:9], wrong, *TRAIN.frames[10:]))
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_CHECKPOINTS", 1e9)
    real, calls = Evaluation.gradient, 0

    def gradient(self: Evaluation, *given: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        found, residuals = real(self, *given, **options)
        return (found * np.nan, residuals) if calls > 15 else (found, residuals)

    monkeypatch.setattr(Evaluation, "gradient", gradient)
    with pytest.raises(
        FitError,
        match=r"not finite in epoch 3; frame 9 \(file.xyz frame 9\) had the largest residual "
        r"\(.* eV/atom, .* eV/Å\).*lower learning_rate.*checkpoint",
    ):
        fitted(tmp_path, train=train)
    # the last good weights are on disk, and all that is there is finite
    (path,) = tmp_path.glob("fit-*.npz")
    with np.load(path) as kept:
        assert json.loads(str(kept["header"]))["numbers"]["epoch"] == 2
        assert all(np.isfinite(kept[name]).all() for name in ("flat", "kept", "mean", "first"))


def test_losses_that_overflow_are_an_error_not_a_potential(tmp_path: Path) -> None:
    wrong = replace(TRAIN[7].labels, forces=1e11 * TRAIN[7].labels.forces)
    train = Dataset((*TRAIN.frames[:7], replace(TRAIN[7], labels=wrong), *TRAIN.frames[8:]))
    with pytest.raises(FitError, match=r"epoch 1; frame 7 .* had the largest residual"):
        fitted(tmp_path, train=train, resample="none", l0=1e300)
    # nothing was learned yet: what is kept is what it began with
    (path,) = tmp_path.glob("fit-*.npz")
    with np.load(path) as kept:
        assert json.loads(str(kept["header"]))["numbers"]["epoch"] == 0
        assert np.isfinite(kept["kept"]).all()


def test_cuda_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"device = 'cuda'.*no CUDA device.*'cpu'"):
        fitted(tmp_path, device="cuda")
    assert device_of("auto") == device_of("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto") == device_of("cuda") == "cuda"
    assert device_of("cpu") == "cpu"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": ()}, "layers"),
        ({"layers": (0,)}, "layers"),
        ({"size": 1, "resample": "split"}, "needs size = 2"),
        ({"first_shell": 4.0}, "below the shorter cutoff"),
        ({"l0": -1.0}, "l0"),
        ({"decay": 1.0}, "decay"),
        ({"learning_rate": 1e-6}, "must not be above learning_rate"),
        ({"optimiser": "adamw"}, "optimizer"),
        ({"without_forces": "ignore"}, "without_forces"),
    ],
)
def test_recipes_that_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe(**changes)


def test_a_single_network_is_no_committee() -> None:
    assert "ensemble" in recipe(size=2).offers
    assert recipe(size=1).offers == {"features"}


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("athanor.potentials._ani.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'athanor\[ani\]'"):
        recipe(max_epochs=1).fit(TRAIN, VALID, seed=1, workdir=tmp_path)


def test_loading_and_predicting_need_no_torch(
    plain: tuple[AniPotential, Path], tmp_path: Path
) -> None:
    plain[0].save(tmp_path / "saved")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from ase.build import bulk\n"
        "from athanor.potentials import kinds, load_folder\n"
        f"potential = load_folder(Path({str(tmp_path / 'saved')!r}))\n"
        "print(repr(potential.predict([bulk('Al')])[0].energy), 'ani' in kinds())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    energy, found = done.stdout.split()
    assert found == "True"
    assert float(energy) == plain[0].predict([bulk("Al")])[0].energy
