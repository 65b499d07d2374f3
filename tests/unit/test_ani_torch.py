"""ANI through PyTorch, which is for CUDA, equals the kernel; here it runs on the processor."""

from __future__ import annotations

import pickle
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ani_cases import random_model, random_spec, spec_of, structure_of
from ase import Atoms

import athanor
from athanor import _core
from athanor.errors import ConfigError, MissingExtraError
from athanor.potentials._ani import program, torch_device
from athanor.potentials._ani.torch_device import TorchAni
from athanor.potentials._ani.twin_networks import TwinAni
from athanor.potentials.ani import AniConfig, AniPotential
from athanor.testing import conformance, structures

SPECIES = ("Al", "Ni", "Mo")


@pytest.mark.parametrize("double", [True, False], ids=["double", "single"])
@pytest.mark.parametrize("seed", range(4))
def test_it_equals_the_twin(seed: int, double: bool) -> None:
    rng = np.random.default_rng(seed)
    species = SPECIES[: seed % 3 + 1]
    model = random_model(rng, random_spec(rng, species), n_members=seed + 1)
    torch_ani, twin = TorchAni(model, device="cpu", double=double), TwinAni(model)
    within = 1e-11 if double else 3e-5
    zoo = [*structures.zoo(species, rng), structures.isolated(species[-1])]
    for atoms, (each, features) in product(zoo, [(True, True), (False, False)]):
        one = structure_of(atoms, species)
        for forces in (True, False):
            asked = {"each": each, "features": features, "forces": forces}
            found, expected = torch_ani.evaluate(**one, **asked), twin.evaluate(**one, **asked)
            for left, right in zip(found, expected, strict=True):
                assert np.shape(left) == np.shape(right)
                scale = max(1.0, np.abs(right).max(initial=0.0))
                assert np.abs(np.subtract(left, right)).max(initial=0.0) <= within * scale


@pytest.mark.parametrize("limit", [1, 400, 3000])
def test_blocks_of_any_size_give_the_same(limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    model = random_model(rng, spec_of(SPECIES))
    one = structure_of(structures.dense(SPECIES, rng, repeats=(2, 3, 2)), SPECIES)
    ani = TorchAni(model, device="cpu", double=True)
    expected = ani.evaluate(**one, each=True, features=True)
    monkeypatch.setattr(torch_device, "_NUMBERS", limit)
    for left, right in zip(ani.evaluate(**one, each=True, features=True), expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-11)


@pytest.mark.parametrize("each", [True, False])
def test_everything_is_on_the_device(each: bool) -> None:
    """On torch's device without numbers all goes well until these are asked for at the end: no
    operation mixes devices, and none but the last waits for results."""
    rng = np.random.default_rng(6)
    model = random_model(rng, spec_of(SPECIES))
    one = structure_of(structures.dense(SPECIES, rng), SPECIES)
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        TorchAni(model, device="meta").evaluate(**one, each=each, features=True)


def test_coincident_atoms_are_a_fault_of_the_structure() -> None:
    model = random_model(np.random.default_rng(0), spec_of(("Al",)))
    one = structure_of(Atoms("Al2", positions=np.zeros((2, 3))), ("Al",))
    with pytest.raises(_core.StructureFault, match="coincide"):
        TorchAni(model, device="cpu").evaluate(**one)


def test_auto_is_the_core_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_device, "has_cuda", lambda: False)
    model = random_model(np.random.default_rng(1), spec_of(SPECIES))
    assert isinstance(AniPotential(model, device="auto")._program, _core.Ani)
    with pytest.raises(ConfigError, match="no CUDA device here; give 'cpu', or 'auto'"):
        AniPotential(model, device="cuda")


def test_auto_needs_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "find_spec", lambda name: None)
    model = random_model(np.random.default_rng(1), spec_of(SPECIES))
    assert isinstance(AniPotential(model, device="auto")._program, _core.Ani)
    with pytest.raises(MissingExtraError, match=r"athanor\[ani\]"):
        AniPotential(model, device="cuda")


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose CUDA device is the processor."""
    monkeypatch.setattr(torch_device, "has_cuda", lambda: True)
    monkeypatch.setattr(torch_device, "CUDA", "cpu")


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_where_there_is_cuda_the_potential_uses_it(
    device: str, with_cuda: None, tmp_path: Path
) -> None:
    model = random_model(np.random.default_rng(1), spec_of(("Al", "Ni")))
    potential = AniPotential(model, precision="float64", device=device)
    assert isinstance(potential._program, TorchAni)
    assert isinstance(potential.members[0]._program, TorchAni)
    assert isinstance(AniPotential(model)._program, _core.Ani)
    potential.save(tmp_path / "saved")
    for copied in (athanor.load(tmp_path / "saved"), pickle.loads(pickle.dumps(potential))):
        assert isinstance(copied, AniPotential)
        assert copied.device == "auto"
        assert isinstance(copied._program, TorchAni)


ELSEWHERE = {"process_pool"}  # another process knows nothing of this machine's device


@pytest.mark.parametrize(
    "check",
    [one for one in conformance.CHECKS if conformance.title(one) not in ELSEWHERE],
    ids=conformance.title,
)
def test_through_torch_it_keeps_the_contract(check, with_cuda: None) -> None:
    model = random_model(np.random.default_rng(3), spec_of(("Al", "Ni")))
    potential = AniPotential(model, precision="float64", device="cuda")
    check(conformance.Subject(AniConfig, potential))
