"""Moment tensor potentials in plain NumPy: the readable twin of the C++ kernel, step by step.

Novikov et al., Mach. Learn.: Sci. Technol. 2, 025002 (2021), eqs 1-6. With u = r / |r|:

    E = sum_i E_i                                                                         (eq. 1)
    E_i = species_coeffs[type_i] + sum_B moment_coeffs[B] B_i                             (eq. 2)
    m_i(mu,a,b,c) = sum_j f_mu(|r_ij|) u_x^a u_y^b u_z^c                                  (eq. 4)
    f_mu(r) = scaling sum_q radial[type_i, type_j, mu, q] T_q(xi) (r - max_dist)^2        (eqs 5, 6)

and B_i one of the products of moments that the index tables define. Parameters are in the order
[radial flattened (i, j, mu, q), species_coeffs, moment_coeffs], that of the published active sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from vesin import NeighborList

from athanor.errors import StructureError
from athanor.potentials import check_elements
from athanor.potentials._mtp.model import IndexTables, MtpModel
from athanor.structure import FloatArray, Labels, check_structure

COINCIDENT = 1e-3
"""Å; no potential means anything for atoms as close as this."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Ordered pairs (i, j) within the cutoff, with images; vectors (n_pairs, 3) r_j - r_i, Å."""

    i: NDArray[np.intp]
    j: NDArray[np.intp]
    vectors: FloatArray
    distances: FloatArray


@dataclass(frozen=True, slots=True)
class Environments:
    """All neighbourhoods of a structure, and the moments with their gradients by pair vectors.

    Attributes
    ----------
    types : (n_atoms,) species indices.
    pairs : the neighbours.
    radial : (n_pairs, n_chebyshev) scaling T_q(xi) (r - max_dist)^2.
    radial_slope : its derivative by r.
    angular : (n_pairs, n_basic) u_x^a u_y^b u_z^c.
    angular_slope : (n_pairs, n_basic, 3) its gradient by the pair vector.
    bond, bond_slope : what each pair adds to each basic moment of its first atom, (n_pairs,
        n_basic), and the gradient of that, (n_pairs, n_basic, 3).
    moments : (n_atoms, n_moments).
    """

    types: NDArray[np.intp]
    pairs: Pairs
    radial: FloatArray
    radial_slope: FloatArray
    angular: FloatArray
    angular_slope: FloatArray
    bond: FloatArray
    bond_slope: FloatArray
    moments: FloatArray


@dataclass(frozen=True, slots=True)
class Design:
    """Derivatives of a structure's energy, forces and virial by all parameters.

    Attributes
    ----------
    energy : (n_parameters,) of the total energy.
    forces : (n_atoms, 3, n_parameters).
    virial : (3, 3, n_parameters) of dE/d(strain) = volume * stress (ASE's sign), symmetric.
    """

    energy: FloatArray
    forces: FloatArray
    virial: FloatArray


def site_energies(model: MtpModel, atoms: Atoms) -> FloatArray:
    """(n_atoms,) E_i in eV (eq. 2). Raises what `predict` raises."""
    environments = surroundings(model, atoms)
    scalars = environments.moments[:, model.tables.mapping]
    return model.species_coeffs[environments.types] + scalars @ model.moment_coeffs


def predict(model: MtpModel, atoms: Atoms) -> Labels:
    """Energy (eV), forces (eV/Å) and, with full periodicity, stress (eV/Å³).

    Raises UnknownElementError, StructureError (non-finite, singular cell, coincident atoms).
    """
    environments = surroundings(model, atoms)
    scalars = environments.moments[:, model.tables.mapping]
    energy = model.species_coeffs[environments.types] + scalars @ model.moment_coeffs
    gradient = basic_gradient(model, environments.moments)
    pull = np.einsum("pb,pbx->px", gradient[environments.pairs.i], environments.bond_slope)
    forces, virial = gather(environments.pairs, pull[..., None], len(atoms))
    volume = abs(np.linalg.det(atoms.cell.array))
    stress = virial[..., 0] / volume if atoms.pbc.all() else None
    return Labels(float(energy.sum()), forces[..., 0], stress)


def features(model: MtpModel, atoms: Atoms) -> FloatArray:
    """(n_atoms, n_parameters) dE_i/d(parameter). Raises what `predict` raises."""
    environments = surroundings(model, atoms)
    return _features(model, environments)


def design(model: MtpModel, atoms: Atoms) -> Design:
    """Derivatives of energy, forces and virial by every parameter. Raises what `predict` raises.

    The virial is given whatever the boundary conditions; it is meant as volume * stress only for
    structures that are periodic in all directions.
    """
    environments = surroundings(model, atoms)
    pulls = np.concatenate(
        [
            radial_pulls(model, environments),
            np.zeros((len(environments.pairs.i), 3, len(model.species))),
            moment_pulls(model, environments),
        ],
        axis=2,
    )
    forces, virial = gather(environments.pairs, pulls, len(atoms))
    return Design(_features(model, environments).sum(axis=0), forces, virial)


def find_pairs(atoms: Atoms, cutoff: float) -> Pairs:
    """Every ordered pair closer than the cutoff; StructureError for coincident atoms."""
    check_structure(atoms)
    finder = NeighborList(cutoff=cutoff, full_list=True)
    box = _box(atoms, cutoff)
    i, j, vectors, distances = finder.compute(atoms.positions, box, atoms.pbc, quantities="ijDd")
    if len(distances) and distances.min() < COINCIDENT:
        pair = int(distances.argmin())
        raise StructureError(
            f"{atoms.get_chemical_formula()}: atoms {i[pair]} and {j[pair]} are "
            f"{distances[pair]:.1e} Å apart, closer than {COINCIDENT} Å; remove one of them"
        )
    near = distances < cutoff
    return Pairs(i[near].astype(np.intp), j[near].astype(np.intp), vectors[near], distances[near])


def _box(atoms: Atoms, cutoff: float) -> FloatArray:
    """The periodic cell vectors, completed by perpendicular ones that hold all atoms."""
    cell = atoms.cell.array.copy()
    cell[~atoms.pbc] = 0.0
    room = float(np.ptp(atoms.positions, axis=0).sum()) + 2.0 * cutoff
    normals = np.linalg.svd(cell)[2][::-1]  # those of zero singular value first
    cell[~atoms.pbc] = room * normals[: int((~atoms.pbc).sum())]
    return np.asarray(cell, dtype=np.float64)


def species_indices(model: MtpModel, atoms: Atoms) -> NDArray[np.intp]:
    """(n_atoms,) index of each atom's element in the model; UnknownElementError for others."""
    check_elements(atoms, frozenset(model.species))
    order = Atoms(list(model.species)).numbers
    return np.asarray((atoms.numbers[:, None] == order).argmax(axis=1), dtype=np.intp)


def radial_basis(model: MtpModel, r: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, n_chebyshev) scaling T_q(xi) (r - max_dist)^2 and its derivative by r (eq. 6)."""
    half = 0.5 * (model.max_dist - model.min_dist)
    xi = (r - 0.5 * (model.max_dist + model.min_dist)) / half
    values, slopes = [np.ones_like(r), xi], [np.zeros_like(r), np.ones_like(r)]
    size = model.radial.shape[-1]
    for _ in range(2, size):
        slopes.append(2 * values[-1] + 2 * xi * slopes[-1] - slopes[-2])
        values.append(2 * xi * values[-1] - values[-2])
    chebyshev = np.stack(values[:size], axis=1)
    slope = np.stack(slopes[:size], axis=1) / half
    edge = (r - model.max_dist)[:, None]
    return (
        model.scaling * chebyshev * edge**2,
        model.scaling * (slope * edge**2 + 2 * chebyshev * edge),
    )


def angular_basis(tables: IndexTables, pairs: Pairs) -> tuple[FloatArray, FloatArray]:
    """(n_pairs, n_basic) u_x^a u_y^b u_z^c and its gradient by the pair vector, (..., 3)."""
    unit = pairs.vectors / pairs.distances[:, None]
    exponents = tables.basic[:, 1:]
    powers = unit[:, None, :] ** exponents
    # d(u^n) has no pole at u = 0: n = 0 gives 0 times u^0
    slopes = exponents * unit[:, None, :] ** np.maximum(exponents - 1, 0)
    by_unit = np.stack(
        [
            slopes[..., axis] * powers[..., (axis + 1) % 3] * powers[..., (axis + 2) % 3]
            for axis in range(3)
        ],
        axis=-1,
    )
    along = np.einsum("pbx,px->pb", by_unit, unit)
    across = by_unit - along[..., None] * unit[:, None, :]
    return powers.prod(axis=2), across / pairs.distances[:, None, None]


def surroundings(model: MtpModel, atoms: Atoms) -> Environments:
    """Neighbours, radial and angular functions, and moments of every atom (eqs 4-6)."""
    types = species_indices(model, atoms)
    pairs = find_pairs(atoms, model.max_dist)
    radial, radial_slope = radial_basis(model, pairs.distances)
    angular, angular_slope = angular_basis(model.tables, pairs)
    coefficients = model.radial[types[pairs.i], types[pairs.j]][:, model.tables.basic[:, 0]]
    function = np.einsum("pbq,pq->pb", coefficients, radial)
    slope = np.einsum("pbq,pq->pb", coefficients, radial_slope)
    bond = function * angular
    bond_slope = _outward(slope * angular, pairs) + function[..., None] * angular_slope
    moments = all_moments(model.tables, _sum_by_atom(bond, pairs.i, len(atoms)))
    return Environments(
        types, pairs, radial, radial_slope, angular, angular_slope, bond, bond_slope, moments
    )


def all_moments(tables: IndexTables, basic: FloatArray) -> FloatArray:
    """(n_atoms, n_moments) from (n_atoms, n_basic): M_k += multiplier M_i M_j, row by row."""
    moments = np.zeros((len(basic), tables.n_moments))
    moments[:, : len(tables.basic)] = basic
    for i, j, multiplier, k in tables.times.tolist():
        moments[:, k] += multiplier * moments[:, i] * moments[:, j]
    return moments


def all_gradients(tables: IndexTables, moments: FloatArray) -> FloatArray:
    """(n_moments, n_atoms, n_basic): derivative of each moment by the basic ones (forward mode)."""
    n_basic = len(tables.basic)
    slopes = np.zeros((tables.n_moments, len(moments), n_basic))
    slopes[np.arange(n_basic), :, np.arange(n_basic)] = 1.0
    for i, j, multiplier, k in tables.times.tolist():
        slopes[k] += multiplier * moments[:, i, None] * slopes[j]
        slopes[k] += multiplier * moments[:, j, None] * slopes[i]
    return slopes


def basic_gradient(model: MtpModel, moments: FloatArray) -> FloatArray:
    """(n_atoms, n_basic) dE_i/d(basic moment), from the last product to the first."""
    return _moment_gradient(model, moments)[:, : len(model.tables.basic)]


def _moment_gradient(model: MtpModel, moments: FloatArray) -> FloatArray:
    """(n_atoms, n_moments) dE_i/dM; a moment's own is complete once later rows are done."""
    gradient = np.zeros_like(moments)
    np.add.at(gradient.T, model.tables.mapping.astype(np.intp), model.moment_coeffs[:, None])
    for i, j, multiplier, k in model.tables.times[::-1].tolist():
        gradient[:, i] += multiplier * gradient[:, k] * moments[:, j]
        gradient[:, j] += multiplier * gradient[:, k] * moments[:, i]
    return gradient


def basic_hessian(model: MtpModel, moments: FloatArray) -> FloatArray:
    """(n_atoms, n_basic, n_basic) second derivatives of E_i by basic moments.

    The reverse sweep differentiated along every basic moment (forward over reverse).
    """
    n_basic = len(model.tables.basic)
    slopes = all_gradients(model.tables, moments)
    gradient = _moment_gradient(model, moments)
    second = np.zeros_like(slopes)
    for i, j, multiplier, k in model.tables.times[::-1].tolist():
        for one, other in ((i, j), (j, i)):
            second[one] += multiplier * second[k] * moments[:, other, None]
            second[one] += multiplier * gradient[:, k, None] * slopes[other]
    return np.moveaxis(second[:n_basic], 0, 1)


def moment_pulls(model: MtpModel, environments: Environments) -> FloatArray:
    """(n_pairs, 3, n_scalars) gradient of each scalar of the first atom by the pair vector."""
    slopes = all_gradients(model.tables, environments.moments)[model.tables.mapping]
    pulls: FloatArray = np.einsum(
        "spb,pbx->pxs", slopes[:, environments.pairs.i], environments.bond_slope, optimize=True
    )
    return pulls


def radial_pulls(model: MtpModel, environments: Environments) -> FloatArray:
    """(n_pairs, 3, n_radial_coeffs) derivative of dE_i/d(pair vector) by radial coefficients.

    A coefficient changes the moments of atom i through all its neighbours (the Hessian's part)
    and the pair's own contribution to them (the gradient's part).
    """
    pairs = environments.pairs
    changes = moment_changes(model, environments)
    hessian = basic_hessian(model, environments.moments)
    turned = np.einsum("abc,acz->abz", hessian, changes, optimize=True)
    pulls = np.einsum("pbz,pbx->pxz", turned[pairs.i], environments.bond_slope, optimize=True)
    gradient = basic_gradient(model, environments.moments)[pairs.i]
    select = np.eye(model.radial.shape[2])[model.tables.basic[:, 0]]
    stretch = _outward(gradient * environments.angular, pairs)
    turn = gradient[..., None] * environments.angular_slope
    own = np.einsum("pbx,bm,pq->pxmq", stretch, select, environments.radial_slope, optimize=True)
    own += np.einsum("pbx,bm,pq->pxmq", turn, select, environments.radial, optimize=True)
    block: FloatArray = pulls.reshape(len(pairs.i), 3, *model.radial.shape)
    rows = np.arange(len(pairs.i))
    block[rows, :, environments.types[pairs.i], environments.types[pairs.j]] += own
    return block.reshape(len(pairs.i), 3, model.radial.size)


def moment_changes(model: MtpModel, environments: Environments) -> FloatArray:
    """(n_atoms, n_basic, n_radial_coeffs) derivative of basic moments by radial coefficients."""
    pairs, types = environments.pairs, environments.types
    n_basic = len(model.tables.basic)
    changes = np.zeros((len(types), n_basic, *model.radial.shape))
    parts = environments.angular[:, :, None] * environments.radial[:, None, :]
    atoms, moments = pairs.i[:, None], np.arange(n_basic)
    kinds = types[pairs.i][:, None], types[pairs.j][:, None]
    np.add.at(changes, (atoms, moments, *kinds, model.tables.basic[:, 0]), parts)
    return changes.reshape(len(types), n_basic, model.radial.size)


def gather(pairs: Pairs, pulls: FloatArray, n_atoms: int) -> tuple[FloatArray, FloatArray]:
    """Forces (n_atoms, 3, n), virials (3, 3, n) from gradients by pair vectors (n_pairs, 3, n)."""
    forces = _sum_by_atom(pulls, pairs.i, n_atoms) - _sum_by_atom(pulls, pairs.j, n_atoms)
    virial = np.einsum("pxn,py->xyn", pulls, pairs.vectors)
    # symmetric up to rounding, since each site energy is invariant to rotation
    return forces, 0.5 * (virial + virial.swapaxes(0, 1))


def _features(model: MtpModel, environments: Environments) -> FloatArray:
    changes = moment_changes(model, environments)
    gradient = basic_gradient(model, environments.moments)
    return np.concatenate(
        [
            np.einsum("ab,abz->az", gradient, changes),
            np.eye(len(model.species))[environments.types],
            environments.moments[:, model.tables.mapping],
        ],
        axis=1,
    )


def _outward(values: FloatArray, pairs: Pairs) -> FloatArray:
    """(n_pairs, n, 3): values (n_pairs, n) along the unit vectors of the pairs."""
    unit = pairs.vectors / pairs.distances[:, None]
    return values[:, :, None] * unit[:, None, :]


def _sum_by_atom(values: FloatArray, atoms: NDArray[np.intp], n_atoms: int) -> FloatArray:
    """Sum of the rows of each atom."""
    total = np.zeros((n_atoms, *values.shape[1:]))
    np.add.at(total, atoms, values)
    return total
