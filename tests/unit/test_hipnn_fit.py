"""Fitting a HIP-NN: what it learns, how it goes on after a kill, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from athanor.data.dataset import Dataset
from athanor.data.packing import read_npz
from athanor.errors import ConfigError, FitError, LabelError, StructureError
from athanor.potentials import FIT_LOG, Potential, load_folder
from athanor.potentials._hipnn.extra import extra
from athanor.potentials.ensemble import Ensemble, EnsembleConfig
from athanor.potentials.hipnn import HipnnConfig, HipnnPotential
from athanor.potentials.lj import LennardJones
from athanor.structure import Frame, Labels
from athanor.testing import structures

with extra():
    import torch

    from athanor.potentials._hipnn import forecast, log
    from athanor.potentials._hipnn.descent import Plateau, cooled
    from athanor.potentials._hipnn.evaluation import Derivatives
    from athanor.potentials._hipnn.examples import Examples, energy_offsets, output_scale

TEACHER = LennardJones(frozenset({"Al", "Ni"}), 4.0, 0.4, 2.5)
SMALL = HipnnConfig(
    cutoff=4.0,
    width=5,
    sensitivities=5,
    atom_layers=1,
    batch_size=2,
    max_epochs=5,
    learning_rate=1e-2,
    precision="float64",
)
OFFSETS = {"Al": -1000.5, "Ni": 20000.25}


def labelled(count: int, *, seed: int) -> Dataset:
    """Random Al-Ni crystals and clusters labelled by Lennard-Jones with large offsets."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        atoms = structures.dense(["Al", "Ni"], rng, repeats=(2, 1, 2))
        if number % 4 == 3:
            atoms = structures.open_along([0, 1, 2], ["Al", "Ni"], rng)
        (exact,) = TEACHER.predict([atoms])
        energy = exact.energy + sum(OFFSETS[symbol] for symbol in atoms.symbols)
        frames.append(Frame(atoms, replace(exact, energy=energy), origin=f"drawn {number}"))
    return Dataset.of(frames)


TRAIN, VALID = labelled(7, seed=1), labelled(3, seed=2)


def spoiled(data: Dataset, number: int, labels: Labels) -> Dataset:
    """The data with other labels at one frame, past the checks of `Dataset.of`."""
    frames = list(data.frames)
    frames[number] = replace(frames[number], labels=labels)
    return Dataset(tuple(frames))


def bits(potential: Potential) -> dict[str, bytes]:
    assert isinstance(potential, HipnnPotential)
    model = potential.model
    named = {name: array.tobytes() for name, array in model.weights.items()}
    return {**named, "offsets": model.offsets.tobytes(), "scale": str(model.scale).encode()}


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / FIT_LOG).read_text().splitlines()]


def fit(recipe: HipnnConfig, folder: Path, **keys: object) -> HipnnPotential:
    given = {"train": TRAIN, "valid": VALID, "seed": 3, "workdir": folder, **keys}
    potential = recipe.fit(given.pop("train"), given.pop("valid"), **given)
    assert isinstance(potential, HipnnPotential)
    return potential


def errors(potential: Potential, data: Dataset) -> tuple[float, float]:
    """Root mean square of energies (eV/atom) and force components (eV/Å)."""
    found = potential.predict(data.structures)
    energies = [
        (one.energy - frame.labels.energy) / len(frame.atoms)
        for one, frame in zip(found, data, strict=True)
    ]
    forces = [one.forces - frame.labels.forces for one, frame in zip(found, data, strict=True)]
    return float(np.std(energies)), float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))


def test_it_learns_what_it_was_not_shown(tmp_path) -> None:
    train, valid, test = (labelled(n, seed=s) for n, s in ((30, 10), (6, 11), (20, 12)))
    recipe = HipnnConfig(cutoff=4.0, width=8, sensitivities=8, max_epochs=30, l0=1.0)
    blank = fit(recipe.model_copy(update={"max_epochs": 1, "learning_rate": 1e-5}), tmp_path / "0")
    fitted = fit(recipe, tmp_path / "1", train=train, valid=valid)
    forces = np.concatenate([frame.labels.forces for frame in test])
    energy, force = errors(fitted, test)
    assert energy < 0.3 * errors(blank, test)[0]
    assert force < 0.3 * np.sqrt(np.mean(forces**2))


def test_equal_arguments_give_equal_bits_and_nothing_else_is_touched(tmp_path, monkeypatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first = fit(SMALL, tmp_path / "1")
    torch.manual_seed(77)
    with torch.no_grad():
        assert bits(fit(SMALL, tmp_path / "2")) == bits(first)
    assert bits(fit(SMALL, tmp_path / "3", seed=4)) != bits(first)
    torch.set_rng_state(state)
    assert torch.get_num_threads() == threads
    assert list((tmp_path / "cwd").iterdir()) == []
    assert len(list((tmp_path / "1").iterdir())) == 2


class Killed(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("after", [1, 3])
def test_a_killed_fit_goes_on_to_the_same_bits(after, tmp_path, monkeypatch) -> None:
    whole = fit(SMALL, tmp_path / "whole")
    plain = log.FitLog.epoch

    def kill(self: log.FitLog, number: int, **numbers: float) -> None:
        plain(self, number, **numbers)
        if number == after:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(log.FitLog, "epoch", kill)
        with pytest.raises(Killed):
            fit(SMALL, tmp_path / "killed")
    assert bits(fit(SMALL, tmp_path / "killed")) == bits(whole)
    steps = [line["step"] for line in lines(tmp_path / "killed") if "step" in line]
    assert steps == list(range(1, 6))
    # a finished fit is not made again
    assert bits(fit(SMALL, tmp_path / "killed")) == bits(whole)
    assert [line["step"] for line in lines(tmp_path / "killed") if "step" in line] == steps


def test_a_torn_or_strange_checkpoint_counts_as_none(tmp_path) -> None:
    whole = fit(SMALL, tmp_path / "fit")
    (kept,) = (tmp_path / "fit").glob("fit-*.npz")
    kept.write_bytes(kept.read_bytes()[:1000])
    assert bits(fit(SMALL, tmp_path / "fit")) == bits(whole)
    other = fit(SMALL, tmp_path / "other", seed=8)
    (strange,) = (tmp_path / "other").glob("fit-*.npz")
    kept.write_bytes(strange.read_bytes())
    assert bits(fit(SMALL, tmp_path / "fit")) == bits(whole)
    assert bits(other) != bits(whole)


def test_the_log_says_what_comes_and_how_far_it_is(tmp_path) -> None:
    fit(SMALL, tmp_path)
    first, *epochs = lines(tmp_path)
    words = ["expected", "MB of memory", "for an epoch", "at most 5"]
    assert all(word in first["forecast"] for word in words)
    assert [line["step"] for line in epochs] == [1, 2, 3, 4, 5]
    for line in epochs:
        assert (line["stage"], line["steps"]) == ("epochs", 5)
        assert np.isfinite([line["loss"], line["valid_loss"], line["seconds"]]).all()
        assert line["seconds"] >= line["stage_began"]


def loss(potential: Potential, data: Dataset) -> float:
    """Mean of eq. 1 with l0 = 0.01, eV²."""
    found = potential.predict(data.structures)
    return float(
        np.mean(
            [
                (one.energy - frame.labels.energy) ** 2
                + 0.01 / len(frame.atoms) * ((one.forces - frame.labels.forces) ** 2).sum()
                for one, frame in zip(found, data, strict=True)
            ]
        )
    )


def test_a_warm_start_is_never_worse_than_its_start(tmp_path) -> None:
    first = fit(SMALL, tmp_path / "1")
    best = min(line["valid_loss"] for line in lines(tmp_path / "1")[1:])
    assert loss(first, VALID) == pytest.approx(best, rel=1e-9)
    second = fit(SMALL, tmp_path / "2", start=first, train=labelled(20, seed=5))
    assert second.model.scale == first.model.scale
    assert np.array_equal(second.model.offsets, first.model.offsets)
    assert loss(second, VALID) < best
    # steps that only spoil leave the start
    wild = SMALL.model_copy(update={"learning_rate": 0.9, "average": 0.0, "max_epochs": 1})
    assert bits(fit(wild, tmp_path / "3", start=first)) == bits(first)


def test_a_start_of_another_architecture_or_kind_is_left_aside(tmp_path) -> None:
    cold = fit(SMALL, tmp_path / "1")
    wider = fit(SMALL.model_copy(update={"width": 6}), tmp_path / "2")
    assert bits(fit(SMALL, tmp_path / "3", start=wider)) == bits(cold)
    assert bits(fit(SMALL, tmp_path / "4", start=TEACHER)) == bits(cold)


def test_validation_may_be_empty_and_the_fit_stops_early(tmp_path) -> None:
    eager = SMALL.model_copy(update={"patience": 1, "decay": 0.01, "learning_rate": 0.5})
    potential = fit(eager, tmp_path, valid=Dataset())
    assert len(lines(tmp_path)) - 1 < eager.max_epochs
    assert potential.elements == {"Al", "Ni"}


def test_species_may_be_more_than_those_of_the_data(tmp_path) -> None:
    both = fit(SMALL.model_copy(update={"species": ("Ni", "Cu", "Al")}), tmp_path)
    assert both.elements == {"Al", "Cu", "Ni"}
    with pytest.raises(ConfigError, match="species = Al, but the data also hold Ni"):
        fit(SMALL.model_copy(update={"species": ("Al",)}), tmp_path)


def test_frames_that_cannot_be_learned_from_are_refused(tmp_path) -> None:
    labels = TRAIN[2].labels
    forces = labels.forces.copy()
    forces[0, 1] = np.nan
    for data, words in (
        (spoiled(TRAIN, 2, replace(labels, forces=forces)), r"training frame 2 \(drawn 2\): a fo"),
        (spoiled(TRAIN, 1, replace(labels, energy=np.inf)), "training frame 1"),
    ):
        with pytest.raises(LabelError, match=words):
            fit(SMALL, tmp_path, train=data)
    with pytest.raises(LabelError, match="validation frame 2"):
        fit(SMALL, tmp_path, valid=spoiled(VALID, 2, replace(VALID[2].labels, energy=np.nan)))
    with pytest.raises(FitError, match="the training set is empty"):
        fit(SMALL, tmp_path, train=Dataset())


def test_coincident_atoms_are_found_wherever_they_are(tmp_path) -> None:
    def crushed(data: Dataset, number: int) -> Dataset:
        atoms = data[number].atoms.copy()
        atoms.positions[1] = atoms.positions[0]
        frames = list(data.frames)
        frames[number] = replace(frames[number], atoms=atoms)
        return Dataset(tuple(frames))

    given = SMALL.model_copy(update={"soft_min": 2.0})
    for recipe in (SMALL, given):
        with pytest.raises(StructureError, match=r"training frame 5 \(drawn 5\): atoms 0 and 1"):
            fit(recipe, tmp_path, train=crushed(TRAIN, 5))
    with pytest.raises(StructureError, match="validation frame 1"):
        fit(given, tmp_path, valid=crushed(VALID, 1))


@pytest.mark.parametrize("batch_size", [3, 7])
def test_a_loss_that_is_not_finite_names_the_worst_frame(batch_size, tmp_path) -> None:
    """One frame is far from the rest, and a deep network at a rate far too high overflows: with
    three steps an epoch in a step, with one in the validation after it."""
    deep = {"width": 32, "interactions": 8, "atom_layers": 4, "batch_size": batch_size}
    calm = {"learning_rate": 1e-5, "precision": "float32", "average": 0.0, "max_epochs": 1}
    start = fit(SMALL.model_copy(update=deep | calm), tmp_path / "start")
    labels = TRAIN[4].labels
    odd = spoiled(TRAIN, 4, replace(labels, forces=labels.forces + 1e8))
    wild = SMALL.model_copy(update=deep | calm | {"learning_rate": 1.0})
    words = r"not finite in epoch 1; .* training frame 4 \(dr"
    with pytest.raises(FitError, match=words) as raised:
        fit(wild, tmp_path / "odd", train=odd, start=start)
    (kept,) = (tmp_path / "odd").glob("fit-*.npz")
    assert str(kept) in str(raised.value)
    arrays = read_npz(kept)
    best = [array for name, array in arrays.items() if name.startswith("best/")]
    assert len(best) > 50
    assert all(np.isfinite(array).all() for array in best)


def test_a_step_that_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(forecast, "free_memory", lambda: 1000)
    with pytest.raises(FitError, match=r"a step needs .* MB of memory .* lower batch_size \(now 2"):
        fit(SMALL, tmp_path)
    monkeypatch.setattr(forecast, "free_memory", lambda: None)
    assert fit(SMALL, tmp_path).cutoff == 4.0


def test_an_ensemble_of_hipnn_is_fitted_saved_and_disagrees(tmp_path) -> None:
    recipe = EnsembleConfig.parse(
        {"kind": "ensemble", "size": 2, "member": SMALL.model_dump()}, where="potential"
    )
    potential = recipe.fit(TRAIN, VALID, seed=2, workdir=tmp_path / "fit")
    assert isinstance(potential, Ensemble)
    assert "features" in recipe.offers
    potential.save(tmp_path / "saved")
    loaded = load_folder(tmp_path / "saved")
    assert isinstance(loaded, Ensemble)
    ((one, two),) = loaded.predict_each(VALID.structures[:1])
    assert one.energy != two.energy
    (mean,) = potential.predict(VALID.structures[:1])
    assert mean.energy == pytest.approx((one.energy + two.energy) / 2, rel=1e-14)


# --- parts ---


@pytest.mark.parametrize("per_atom", [False, True])
@pytest.mark.parametrize("stress_weight", [0.0, 0.3])
def test_the_loss_is_equation_1(per_atom, stress_weight) -> None:
    rng = np.random.default_rng(7)
    spec = HipnnConfig.example(seed=0).model.spec
    offsets = energy_offsets(TRAIN, spec.species)
    examples = Examples.of(TRAIN, spec, offsets, where="training")
    numbers = [5, 3, 0]
    frames = [TRAIN[n] for n in numbers]
    sizes = [len(frame.atoms) for frame in frames]
    found = Derivatives(
        torch.from_numpy(rng.normal(size=3)),
        torch.from_numpy(rng.normal(size=(sum(sizes), 3))),
        torch.from_numpy(rng.normal(size=(3, 3, 3))),
        torch.zeros(0),
    )
    recipe = SMALL.model_copy(update={"per_atom": per_atom, "stress_weight": stress_weight})
    losses, energies, forces = examples.losses(numbers, found, recipe.settings())
    starts = np.cumsum([0, *sizes])
    for k, frame in enumerate(frames):
        own = sum(offsets[spec.species.index(symbol)] for symbol in frame.atoms.symbols)
        energy = float(found.energies[k]) + own - frame.labels.energy
        force = found.forces[starts[k] : starts[k + 1]].numpy() - frame.labels.forces
        unit = sizes[k] ** -2 if per_atom else 1.0
        expected = unit * energy**2 + 0.01 / sizes[k] * (force**2).sum()
        if frame.labels.stress is not None:
            virial = found.virials[k].numpy() - frame.atoms.cell.volume * frame.labels.stress
            expected += stress_weight * unit * (virial**2).sum()
        assert float(losses[k]) == pytest.approx(expected, rel=1e-9)
        assert float(energies[k]) == pytest.approx(energy / sizes[k], rel=1e-9)
        assert float(forces[k]) == pytest.approx(np.mean(force**2), rel=1e-9)


def test_offsets_are_the_energies_of_atoms_and_the_scale_is_never_zero() -> None:
    rng = np.random.default_rng(3)
    bare = Dataset(
        tuple(
            replace(frame, labels=Labels(energy, np.zeros((len(frame.atoms), 3)), None))
            for frame in labelled(6, seed=4)
            for energy in [sum(OFFSETS[symbol] for symbol in frame.atoms.symbols)]
        )
    )
    offsets = energy_offsets(bare, ["Al", "Cu", "Ni"])
    np.testing.assert_allclose(offsets, [OFFSETS["Al"], 0.0, OFFSETS["Ni"]], atol=1e-6)
    assert output_scale(bare, ["Al", "Cu", "Ni"], offsets) == pytest.approx(1e-3, rel=1e-3)
    forces = rng.normal(size=(len(bare[0].atoms), 3))
    moved = spoiled(bare, 0, replace(bare[0].labels, forces=forces))
    assert output_scale(moved, ["Al", "Cu", "Ni"], offsets) > 0.1


def test_the_rate_falls_after_patience_and_cools_at_the_end() -> None:
    settings = SMALL.model_copy(update={"patience": 2, "decay": 0.25, "cooldown": 0.4}).settings()
    plateau = Plateau(1.0)
    better = [plateau.see(loss, settings) for loss in (3.0, 2.0, 2.5, 1.9999999, 4.0, 4.0)]
    assert better == [True, True, False, True, False, False]
    assert plateau.rate == 0.25**2
    assert plateau.best == 1.9999999
    factors = [cooled(epoch, settings) for epoch in (0, 3, 4, 5, 6)]
    assert factors == pytest.approx([1, 1, 0.5, 0, 0])
    steady = replace(settings, cooldown=0.0)
    assert [cooled(epoch, steady) for epoch in (0, 4.9)] == [1, 1]
