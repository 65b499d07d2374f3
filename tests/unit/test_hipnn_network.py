"""The parts below a HIP-NN potential against hippynn's own, and its pairs against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from athanor.potentials._hipnn.batch import Batch, shortest
from athanor.potentials._hipnn.extra import extra
from athanor.potentials.hipnn import HipnnConfig
from athanor.testing import structures

with extra():
    import hippynn
    import torch
    from hippynn.custom_kernels import env_pytorch
    from hippynn.graphs import GraphModule, inputs, networks, targets
    from hippynn.graphs.nodes import physics

    from athanor.potentials._hipnn.evaluation import Evaluator, derivatives
    from athanor.potentials._hipnn.kernels import envsum
    from athanor.potentials._hipnn.network import network_of, new_network

ELEMENTS = ["Al", "Ni"]
NUMBERS = {"Al": 13, "Ni": 28}


def types_of(atoms: Atoms) -> np.ndarray:
    return np.array([ELEMENTS.index(symbol) for symbol in atoms.symbols])


def batch_of(batch: list[Atoms], cutoff: float) -> Batch:
    return Batch.of(batch, [types_of(atoms) for atoms in batch], cutoff=cutoff)


def random_sums(rng: np.random.Generator, *, n_atoms: int, n_pairs: int) -> list[torch.Tensor]:
    sense = torch.from_numpy(rng.normal(size=(n_pairs, 3))).requires_grad_()
    features = torch.from_numpy(rng.normal(size=(n_atoms, 2))).requires_grad_()
    first, second = torch.from_numpy(rng.integers(n_atoms, size=(2, n_pairs)))
    return [sense, features, first, second]


@pytest.mark.parametrize(("n_atoms", "n_pairs"), [(5, 40), (7, 3), (4, 0)])
def test_padded_sums_are_those_of_hippynn_in_any_order(n_atoms, n_pairs) -> None:
    rng = np.random.default_rng([n_atoms, n_pairs])
    sense, features, first, second = random_sums(rng, n_atoms=n_atoms, n_pairs=n_pairs)
    expected = env_pytorch.envsum(sense, features, first, second)
    torch.testing.assert_close(envsum(sense, features, first, second), expected)
    order = torch.argsort(first)
    ordered = envsum(sense[order], features, first[order], second[order])
    torch.testing.assert_close(ordered, expected)


def test_padded_sums_are_differentiated_twice() -> None:
    sense, features, first, second = random_sums(np.random.default_rng(2), n_atoms=4, n_pairs=9)

    def sums(sense: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return envsum(sense, features, first, second)

    assert torch.autograd.gradcheck(sums, (sense, features))
    assert torch.autograd.gradgradcheck(sums, (sense, features))


def hippynn_labels(model, atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy and forces by a graph of hippynn's own nodes, with its periodic pair finder."""
    network = network_of(model)
    species = inputs.SpeciesNode(db_name="Z")
    positions, cell = inputs.PositionsNode(db_name="R"), inputs.CellNode(db_name="C")
    module = network.body
    module.species_set = torch.tensor([0, *NUMBERS.values()])
    body = networks.HipnnVec("body", (species, positions, cell), module=module, periodic=True)
    energy = targets.HEnergyNode("energy", body, module=network.head, first_is_interacting=True)
    force = physics.GradientNode("force", (energy, positions), sign=-1)
    graph = GraphModule([species, positions, cell], [energy.mol_energy, force])
    found = graph(
        torch.from_numpy(atoms.numbers[None].astype(np.int64)),
        torch.from_numpy(atoms.positions[None].copy()),
        torch.from_numpy(atoms.cell.array[None].copy()),
    )
    return float(found[0].detach()), found[1][0].detach().numpy()


def test_a_graph_of_hippynns_own_nodes_says_the_same() -> None:
    """In a cell wide enough for its pair finder, atoms inside the box."""
    potential = HipnnConfig.example(seed=3)
    rng = np.random.default_rng(12)
    atoms = structures.dense(ELEMENTS, rng, repeats=(4, 4, 4))
    atoms.wrap()
    energy, forces = hippynn_labels(potential.model, atoms)
    (labels,) = potential.predict([atoms])
    offsets = potential.model.offsets[types_of(atoms)].sum()
    assert labels.energy - offsets == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(labels.forces, forces, atol=1e-9)


def test_structures_in_one_batch_are_what_they_are_alone() -> None:
    """The second structure keeps its neighbours, whatever stands beside it."""
    model = HipnnConfig.example(seed=1).model
    batch = [*structures.zoo(ELEMENTS, np.random.default_rng(6)), structures.isolated("Ni")]
    network = network_of(model)
    together = derivatives(network, batch_of(batch, model.spec.cutoff), scale=1.7)
    start = 0
    for number, atoms in enumerate(batch):
        alone = derivatives(network, batch_of([atoms], model.spec.cutoff), scale=1.7)
        part = slice(start, start + len(atoms))
        start += len(atoms)
        torch.testing.assert_close(together.energies[number], alone.energies[0])
        torch.testing.assert_close(together.forces[part], alone.forces)
        torch.testing.assert_close(together.virials[number], alone.virials[0])
        torch.testing.assert_close(together.features[part], alone.features)


def test_an_architecture_is_the_same_whatever_torch_was_set_to() -> None:
    spec = HipnnConfig.example(seed=1).model.spec
    before, state = torch.get_default_dtype(), torch.get_rng_state()
    plain = new_network(spec, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_default_dtype(torch.float64)
    try:
        other = new_network(spec, seed=4)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(before)
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert one.dtype == torch.float64
        assert torch.equal(one, two)


def test_weights_that_do_not_fit_are_named() -> None:
    model = HipnnConfig.example(seed=1).model
    name = next(iter(model.weights))
    less = {key: array for key, array in model.weights.items() if key != name}
    with pytest.raises(ValueError, match="missing or too many"):
        network_of(replace(model, weights=less))
    with pytest.raises(ValueError, match="has shape"):
        network_of(replace(model, weights={**model.weights, name: np.zeros((1, 1, 1, 1))}))
    assert Evaluator(model).evaluate(batch_of([structures.isolated("Al")], 4.0)).energy != 0


def test_the_kernels_in_use_are_ours() -> None:
    assert hippynn.custom_kernels.CUSTOM_KERNELS_ACTIVE == "athanor"
    assert hippynn.custom_kernels.envsum is envsum


def test_the_shortest_distance_is_over_all_structures() -> None:
    dimers = [Atoms("Al2", [[0, 0, 0], [0, 0, d]]) for d in (2.5, 2.25, 9.0)]
    assert shortest(dimers, at_most=3.0) == pytest.approx(2.25)
    assert shortest(dimers[2:], at_most=3.0) == 3.0
