"""Order of atoms, boxes of two phases, first scales and what is kept, on known structures."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.harmonic import SpringCalculator
from ase.io import write

from athanor.errors import MeasurementError
from athanor.structure import bare
from athanor.validate._melting.boxes import cubelike, orthogonal, repeats, scaled, stretched
from athanor.validate._melting.kept import Part, kept
from athanor.validate._melting.order import Fingerprint, Order, bond_order, deep
from athanor.validate._melting.phases import at_home, distortion
from athanor.validate._melting.scale import nearest_distance, scale_of
from athanor.validate.melting import MeltingPoint

VOLUME = 16.5
CRYSTALS = {
    "fcc": bulk("Al", "fcc", a=(4 * VOLUME) ** (1 / 3), cubic=True).repeat((5, 5, 5)),
    "bcc": bulk("Al", "bcc", a=(2 * VOLUME) ** (1 / 3), cubic=True).repeat((6, 6, 6)),
    "hcp": bulk("Al", "hcp", a=(2**0.5 * VOLUME) ** (1 / 3), orthorhombic=True).repeat((6, 4, 4)),
    "diamond": bulk("Si", "diamond", a=5.43, cubic=True).repeat((4, 4, 4)),
}


def warm(atoms: Atoms, seed: int, amplitude: float = 0.09) -> Atoms:
    """Atoms off their sites as near melting, by Lindemann's measure."""
    moved = atoms.copy()
    moved.rattle(amplitude * nearest_distance(atoms) / 3**0.5, seed=seed)
    return moved


def gas(atoms: Atoms, seed: int) -> Atoms:
    """As many hard spheres in the same cell, packed at random: each is as far off as it can be."""
    rng = np.random.default_rng(seed)
    places = [rng.uniform(size=3)]
    lengths, near = atoms.cell.lengths(), 0.7 * nearest_distance(atoms)
    while len(places) < len(atoms):
        tried = rng.uniform(size=(200, 3))
        for one in tried:
            away = np.array(places) - one
            away = (away - np.round(away)) * lengths
            if (away**2).sum(axis=1).min() > near**2:
                places.append(one)
            if len(places) == len(atoms):
                break
        near *= 0.995
    made = atoms.copy()
    made.set_scaled_positions(places)
    return made


@pytest.mark.parametrize("name", CRYSTALS)
def test_order_tells_any_crystal_from_disorder(name) -> None:
    crystal = CRYSTALS[name]
    order = Order.calibrated([warm(crystal, 1)], [gas(crystal, 2)])
    assert order.solid_fraction(warm(crystal, 3)) > 0.97
    assert order.solid_fraction(gas(crystal, 4)) < 0.03
    assert Order(**order.plain()) == order


def test_the_solid_fraction_of_a_box_is_what_was_put_in() -> None:
    long = CRYSTALS["fcc"].repeat((1, 1, 3))
    order = Order.calibrated([warm(CRYSTALS["fcc"], 1)], [gas(CRYSTALS["fcc"], 2)])
    disorder = gas(CRYSTALS["fcc"], 5).repeat((1, 1, 3))
    heights = disorder.get_scaled_positions()[:, 2]
    shares = []
    for share in (0.3, 0.5, 0.7):
        lower = long.get_scaled_positions()[:, 2] < share
        box = warm(long, 6)[lower] + disorder[heights >= share]
        shares.append(order.solid_fraction(box))
    # two interfaces take the same from each, so that differences are right
    assert shares[1] - shares[0] == pytest.approx(0.2, abs=0.04)
    assert shares[2] - shares[1] == pytest.approx(0.2, abs=0.04)
    assert shares[1] == pytest.approx(0.5, abs=0.1)


def test_bond_order_of_fcc_is_the_textbook_s() -> None:
    perfect = bond_order(CRYSTALS["fcc"], 6, 12)
    assert perfect == pytest.approx(np.full(500, 0.5745), abs=1e-3)
    assert bond_order(CRYSTALS["fcc"], 4, 12) == pytest.approx(np.full(500, 0.1909), abs=1e-3)


def test_bond_order_does_not_see_rotations_of_the_box_or_its_corner() -> None:
    atoms = warm(CRYSTALS["hcp"], 7)
    shifted = atoms.copy()
    shifted.positions += [3.3, -2.1, 40.0]
    assert bond_order(shifted, 6, 12) == pytest.approx(bond_order(atoms, 6, 12), abs=1e-4)


def test_what_no_order_tells_apart_is_said() -> None:
    crystal = CRYSTALS["fcc"]
    with pytest.raises(MeasurementError, match="does not tell the crystal from the liquid"):
        Order.calibrated([warm(crystal, 1)], [warm(crystal, 2)])


@pytest.mark.parametrize(("name", "another"), [("fcc", "fcc"), ("hcp", "hcp"), ("bcc", "bcc"),
                                               ("hcp", "fcc"), ("fcc", "hcp"), ("bcc", "fcc"),
                                               ("fcc", "bcc")])  # fmt: skip
def test_another_crystal_is_recognised(name, another) -> None:
    crystals = {key: CRYSTALS[key].repeat((1, 1, 2)) for key in (name, another)}
    one, two = (warm(crystals[name], seed, size) for seed, size in ((1, 0.09), (2, 0.08)))
    prints = Fingerprint.of([one], [two], (900.0, 800.0))
    assert Fingerprint.read(prints.plain()) == prints
    other = warm(crystals[another], 3)
    everything = np.ones(len(other), dtype=bool)
    assert prints.is_another(other, everything, 900.0) == (name != another)
    # where there is hardly any crystal nothing is said
    little = other.get_scaled_positions()[:, 2] < 0.1
    assert not prints.is_another(other, little, 900.0)


def test_deep_atoms_are_those_in_the_middle_of_the_slab() -> None:
    atoms = CRYSTALS["fcc"]
    heights = atoms.get_scaled_positions()[:, 2]
    # a slab across the boundary, from 0.8 to 0.3
    inner = deep(atoms, (heights > 0.79) | (heights < 0.31))
    assert inner.any()
    assert set(np.round(heights[inner], 3)) <= {0.9, 0.0, 0.1, 0.2}
    assert not deep(atoms, np.zeros(len(atoms), dtype=bool)).any()


# boxes


@pytest.mark.parametrize(
    "crystal",
    [
        bulk("Al", "fcc", a=4.05),
        bulk("Mg", "hcp", a=3.2, c=5.2),
        bulk("Fe", "bcc", a=2.87),
        bulk("NaCl", "rocksalt", a=5.64),
        bulk("Si", "diamond", a=5.43),
        make_supercell(bulk("Al", a=4.05, cubic=True), [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]),
    ],
    ids=["fcc", "hcp", "bcc", "rocksalt", "diamond", "turned"],
)
def test_every_simple_crystal_has_an_orthogonal_cell(crystal) -> None:
    cell = orthogonal(crystal)
    assert np.asarray(cell.cell) == pytest.approx(np.diag(cell.cell.lengths()))
    assert cell.get_volume() / len(cell) == pytest.approx(crystal.get_volume() / len(crystal))
    assert nearest_distance(cell) == pytest.approx(nearest_distance(crystal), rel=1e-6)
    times = (
        np.bincount(cell.numbers)[crystal.numbers] / np.bincount(crystal.numbers)[crystal.numbers]
    )
    assert np.ptp(times) == 0


def test_a_triclinic_crystal_is_refused() -> None:
    atoms = Atoms("AlCu", scaled_positions=[[0, 0, 0], [0.4, 0.5, 0.6]],
                  cell=[[3, 0, 0], [0.5, 4, 0], [0.3, 0.7, 5]], pbc=True)  # fmt: skip
    with pytest.raises(MeasurementError, match="no orthogonal cell"):
        orthogonal(atoms)


@pytest.mark.parametrize("count", [500, 2000, 9000])
def test_boxes_have_about_the_atoms_asked_for(count) -> None:
    unit = bulk("Al", a=4.05, cubic=True)
    x, y, z = repeats(unit, count, 2.5)
    assert x == y
    assert z % 2 == 0
    assert 4 * x * y * z == pytest.approx(count, rel=0.2)
    assert 1.8 < z / x < 4.0
    assert cubelike(unit, 500) == (5, 5, 5)


def test_the_upper_half_gets_the_liquid_s_room() -> None:
    crystal = bulk("Al", a=4.0, cubic=True).repeat((2, 2, 6))
    box, lower = stretched(crystal, 1.1)
    assert lower.sum() == len(crystal) / 2
    assert box.get_volume() == pytest.approx(crystal.get_volume() * 1.05)
    heights = np.unique(np.round(box.positions[lower, 2], 6))
    assert np.diff(heights) == pytest.approx(np.full(5, 2.0))
    above = np.unique(np.round(box.positions[~lower, 2], 6))
    assert np.diff(above) == pytest.approx(np.full(5, 2.2))
    # no layers come near each other at the two cuts
    assert above[0] - heights[-1] > 2.0
    assert heights[0] + box.cell[2, 2] - above[-1] > 2.0


def test_scaling_keeps_momenta() -> None:
    atoms = bulk("Al", cubic=True)
    atoms.set_momenta(np.arange(12.0).reshape(4, 3))
    changed = scaled(atoms, np.array([5.0, 6.0, 7.0]))
    assert changed.cell.lengths() == pytest.approx([5.0, 6.0, 7.0])
    assert (changed.get_momenta() == atoms.get_momenta()).all()
    assert changed.get_scaled_positions() == pytest.approx(atoms.get_scaled_positions())


# pure phases


def test_atoms_at_home_are_counted_whatever_drift_and_boundary() -> None:
    sites = CRYSTALS["fcc"]
    moved = warm(sites, 8)
    moved.positions += [1.7, -9.0, 30.0]
    moved.wrap()
    assert at_home(scaled(moved, 1.02 * sites.cell.lengths()), sites) == 1.0
    gone = moved.copy()
    gone.positions[:100] += [2.5, 0.0, 0.0]
    assert at_home(gone, sites) == pytest.approx(0.8)
    longer = scaled(sites, sites.cell.lengths() * [1.0, 1.0, 1.3])
    assert distortion(longer, sites) == pytest.approx(1.3 / 1.1 - 1)


def test_an_einstein_crystal_has_its_own_scales() -> None:
    crystal = CRYSTALS["fcc"]
    springs = 2.0
    scale = scale_of(crystal, SpringCalculator(crystal.positions, springs))
    period = 2 * np.pi * (26.98154 / springs) ** 0.5 * 10.1805057
    assert scale.timestep_fs == pytest.approx(period / 100, rel=0.05)
    amplitude = (0.14 * nearest_distance(crystal)) ** 2
    expected = amplitude * springs / (3 * 8.617333e-5 * 1.8)
    assert scale.lindemann_K == pytest.approx(expected, rel=1e-4)


def test_the_scale_of_a_metal_is_right_within_a_factor_of_two() -> None:
    scale = scale_of(bulk("Cu", a=3.61, cubic=True).repeat(3), EMT())
    assert 1358 / 2 < scale.lindemann_K < 1358 * 2
    assert 1.0 < scale.timestep_fs < 5.0


def test_a_crystal_that_pushes_nothing_back_is_unstable() -> None:
    class Repelled(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:
            super().calculate(atoms, properties, system_changes)
            away = atoms.positions - CRYSTALS["fcc"].positions
            self.results = {"energy": float(-(away**2).sum()), "forces": 2 * away}

    with pytest.raises(MeasurementError, match="is not pushed back"):
        scale_of(CRYSTALS["fcc"], Repelled())


# what is kept


def test_a_part_is_made_once_and_read_bit_for_bit(tmp_path) -> None:
    atoms = warm(CRYSTALS["bcc"], 9)
    atoms.set_momenta(np.random.default_rng(1).standard_normal((len(atoms), 3)))
    made = []

    def make() -> Part:
        made.append(1)
        return Part({"share": 0.1 + 0.2}, (atoms, bare(atoms)))

    first = kept(tmp_path / "new", "two words", make)
    second = kept(tmp_path / "new", "two words", make)
    assert made == [1]
    assert first.data == second.data == {"share": 0.1 + 0.2}
    for part in (first, second):
        assert (part.structures[0].get_momenta() == atoms.get_momenta()).all()
        assert (part.structures[0].positions == atoms.positions).all()
        assert len(part.structures) == 2


def test_a_part_that_is_not_whole_is_made_again(tmp_path) -> None:
    kept(tmp_path, "one", lambda: Part({"a": 1}))
    path = tmp_path / "one.npz"
    path.write_bytes(path.read_bytes()[:50])
    assert kept(tmp_path, "one", lambda: Part({"a": 2})).data == {"a": 2}


def test_a_structure_file_is_a_crystal_too(tmp_path) -> None:
    write(tmp_path / "al.xyz", bulk("Al", a=4.0, cubic=True))
    config = MeltingPoint(file=tmp_path / "al.xyz")
    assert config.title == "Melting of al"
    assert len(orthogonal(config.crystal(EMT()))) == 4
