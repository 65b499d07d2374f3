"""ANI networks in plain NumPy, and the twin of the kernel that evaluates a whole ensemble."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor import _core
from athanor.potentials._ani.model import CELU_ALPHA, AniModel, Network
from athanor.potentials._ani.twin import TwinAev
from athanor.structure import FloatArray


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the networks of one species give for their atoms, in the networks' own unit.

    Attributes
    ----------
    energies : (n_members, n_atoms).
    gradients : (n_members, n_atoms, length) of the energies by the environment vectors.
    hidden : (n_members, n_atoms, n_last) the last hidden layer.
    """

    energies: FloatArray
    gradients: FloatArray
    hidden: FloatArray


def celu(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """CELU(x) = x above zero, alpha (exp(x / alpha) - 1) below; and its derivative."""
    bent = np.expm1(np.minimum(x, 0.0) / CELU_ALPHA)
    return np.maximum(x, 0.0) + CELU_ALPHA * bent, 1.0 + bent


def run(network: Network, values: FloatArray) -> Outputs:
    """All members on (n_atoms, length) environment vectors, forward and backward, in float64."""
    weights = [layer.astype(np.float64) for layer in network.weights]
    hidden = np.broadcast_to(values, (len(weights[0]), *values.shape))
    slopes = []
    for weight, bias in zip(weights[:-1], network.biases[:-1], strict=True):
        linear = hidden @ weight.swapaxes(1, 2) + bias[:, None, :].astype(np.float64)
        hidden, slope = celu(linear)
        slopes.append(slope)
    energies = (hidden @ weights[-1].swapaxes(1, 2))[..., 0] + network.biases[-1].astype(np.float64)
    gradients = np.broadcast_to(weights[-1], hidden.shape)
    for weight, slope in zip(weights[-2::-1], slopes[::-1], strict=True):
        gradients = (gradients * slope) @ weight
    return Outputs(energies, gradients, hidden)


class TwinAni:
    """An ensemble on one structure, with the methods of `_core.Ani`, in float64 throughout.

    `threads`, `isa` and `skin` are ignored. Raises `_core.StructureFault` as the kernel does.
    """

    def __init__(self, model: AniModel) -> None:
        self.model = model
        self.aev = TwinAev(model.aev)

    @property
    def n_members(self) -> int:
        return self.model.n_members

    def evaluate(
        self,
        positions: FloatArray,
        types: NDArray[np.int32],
        cell: FloatArray,
        periodic: NDArray[np.bool_],
        *,
        forces: bool = True,
        each: bool = False,
        features: bool = False,
        threads: int = 1,
        isa: str = "auto",
        skin: _core.SkinList | None = None,
    ) -> tuple[FloatArray, FloatArray, FloatArray, float, FloatArray, FloatArray]:
        """Energies, forces, strain derivatives, volume, site energies, features.

        Energies are (n_members,), site energies (n_members, n_atoms), eV with the offsets. Forces
        (k, n_atoms, 3) and strain derivatives (k, 3, 3) are those of the mean (k = 1) or of each
        member (k = n_members); k = 0 without forces. Features are those of the first member.
        """
        ends = np.array([0, len(types)])
        batch = (positions, types, ends, cell[None], periodic[None])
        values = np.asarray(self.aev.values(*batch, double=True), dtype=np.float64)
        sites, adjoints, table = self._networks(values, types)
        if not forces:
            adjoints = adjoints[:0]
        elif not each:
            adjoints = adjoints.mean(axis=0, keepdims=True)
        gradient, strain = self.aev.vjp(*batch, adjoints)
        volume = abs(float(np.linalg.det(cell))) if periodic.all() else 0.0
        found = table if features else np.zeros((0, table.shape[1]))
        return sites.sum(axis=1), -gradient, strain[:, 0], volume, sites, found

    def _networks(
        self, values: FloatArray, types: NDArray[np.int32]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Site energies, their gradients by environment vectors, and features, all in eV."""
        model = self.model
        sites = np.empty((model.n_members, len(types)))
        gradients = np.empty((model.n_members, *values.shape))
        blocks = []
        for species, network in enumerate(model.networks):
            mine = types == species
            outputs = run(network, values[mine])
            sites[:, mine] = model.scale * outputs.energies + model.offsets[:, species, None]
            gradients[:, mine] = model.scale * outputs.gradients
            block = np.zeros((len(types), outputs.hidden.shape[2] + 1))
            block[mine] = model.scale * np.pad(
                outputs.hidden[0], ((0, 0), (0, 1)), constant_values=1.0
            )
            blocks.append(block)
        return sites, gradients, np.concatenate(blocks, axis=1)
