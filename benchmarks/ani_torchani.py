"""torchani as a worker: the same weights, structures and energies, forces and training steps.

    PYTHON benchmarks/ani_torchani.py MODEL.npz

Run by ani_evaluation.py and ani_training.py with the Python of an environment that has torchani,
where athanor need not be. It reads one JSON request a line and answers with one JSON line: `cpu`
and `wall` seconds of the repetitions asked for and the memory that they took at most; results go
into a file where one is named. Built are torchani's own classes: AEVComputer with any of its
neighbour lists, its Ensemble of networks and BmmEnsemble, its batched form of it. Lengths in Å.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCHANI_NO_WARN_EXTENSIONS", "1")

import numpy as np
import torch
from torchani.aev import AEVComputer
from torchani.csrc import CLIST_IS_INSTALLED
from torchani.neighbors import Neighbors, all_pairs, reconstruct_shifts
from torchani.nn import ANINetworks, AtomicNetwork, Ensemble, TightCELU

Tables = dict[str, np.ndarray]


def member(tables: Tables, number: int) -> AtomicNetwork:
    """One network of the ensemble, weights of layer l in `weights_l` (members, out, in)."""
    count = sum(name.startswith("weights_") for name in tables)
    shapes = [tables[f"weights_{layer}"].shape for layer in range(count)]
    network = AtomicNetwork(
        [shapes[0][2], *(shape[1] for shape in shapes)], activation=TightCELU(), bias=True
    )
    for layer, linear in enumerate([*network.layers, network.final_layer]):
        linear.weight.data = torch.tensor(tables[f"weights_{layer}"][number])
        linear.bias.data = torch.tensor(tables[f"biases_{layer}"][number])
    return network


class Ani:
    """The model that the tables describe, of one species."""

    def __init__(self, tables: Tables, *, neighbours: str, batched: bool, double: bool) -> None:
        self.scale = float(tables["scale"])
        self.offsets = tables["offsets"][:, 0]
        self.dtype = torch.float64 if double else torch.float32
        self.computer = AEVComputer.from_constants(
            radial_cutoff=float(tables["radial_cutoff"]),
            angular_cutoff=float(tables["angular_cutoff"]),
            radial_eta=float(tables["eta_r"]),
            radial_shifts=tables["shf_r"].tolist(),
            angular_eta=float(tables["eta_a"]),
            angular_zeta=float(tables["zeta"]),
            angular_shifts=tables["shf_a"].tolist(),
            sections=tables["shf_z"].tolist(),
            num_species=1,
            neighborlist=neighbours,
        ).to(self.dtype)
        ensemble = Ensemble(
            [ANINetworks({"Al": member(tables, m)}) for m in range(len(self.offsets))]
        )
        self.networks = (ensemble.to_infer_model() if batched else ensemble).to(self.dtype)
        self.parameters = list(self.networks.parameters())

    def evaluate(self, system: Tables, *, stress: bool, each: bool) -> Tables:
        """Energies (k,), forces (k, n, 3) and, of the mean, dE/deps; k = 1 or the members."""
        positions, cell, pbc = self._tensors(system)
        species = torch.zeros(positions.shape[:2], dtype=torch.long)
        positions.requires_grad_(True)
        inputs = [positions]
        around = self.computer.neighborlist(
            self.computer.radial.cutoff, species, positions, cell, pbc
        )
        if stress:  # as torchani's own ASE calculator has it: the virial of pair vectors
            pairs = around.diff_vectors
            pairs.requires_grad_(True)
            around = Neighbors(around.indices, pairs.norm(2, -1), pairs)
            inputs.append(pairs)
        aev = self.computer.compute_from_neighbors(species, positions, around)
        values = self.networks(species, aev, ensemble_values=each).reshape(-1)
        found = [torch.autograd.grad(value, inputs, retain_graph=each) for value in values]
        forces = np.stack([-self.scale * grads[0][0].double().numpy() for grads in found])
        offsets = self.offsets if each else self.offsets.mean(keepdims=True)
        answer = {
            "energies": self.scale * values.detach().double().numpy()
            + offsets * positions.shape[1],
            "forces": forces,
        }
        if stress:
            answer["strain"] = self.scale * (pairs.T @ found[0][1]).detach().double().numpy()
        return answer

    def _tensors(self, system: Tables) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        positions = torch.tensor(system["positions"], dtype=self.dtype)[None]
        return positions, torch.tensor(system["cell"], dtype=self.dtype), torch.tensor([True] * 3)


class Step:
    """One training step of all members: energies and forces in the loss, structures of one size.

    L = sum over structures of (E - E_ref)^2 + (l0 / M) sum (f - f_ref)^2 (Smith et al. 2021, eq.
    1), averaged over structures and summed over members, in the units of the networks. Lists are
    made before the step, torchani's batch of periodic cells being one list of all of them.
    """

    def __init__(self, model: Ani, system: Tables, *, chunk: int) -> None:
        self.model, self.l0 = model, float(system["l0"])
        self.count = len(system["positions"])
        self.parts = [
            self._part(system, range(first, min(first + chunk, self.count)))
            for first in range(0, self.count, chunk)
        ]

    def _part(self, system: Tables, numbers: range) -> dict[str, Any]:
        shifts, indices = [], []
        atoms = system["positions"].shape[1]
        species = torch.zeros((1, atoms), dtype=torch.long)
        for place, number in enumerate(numbers):
            one = {"positions": system["positions"][number], "cell": system["cells"][number]}
            positions, cell, pbc = self.model._tensors(one)
            found = all_pairs(self.model.computer.radial.cutoff, species, positions, cell, pbc)
            shifts.append(reconstruct_shifts(positions, found))
            indices.append(found.indices + place * atoms)
        take = list(numbers)
        scale, dtype = self.model.scale, self.model.dtype
        energies = (system["energies"][take] - self.model.offsets.mean() * atoms) / scale
        return {
            "positions": torch.tensor(system["positions"][take], dtype=dtype, requires_grad=True),
            "shifts": torch.cat(shifts),
            "indices": torch.cat(indices, dim=1),
            "energies": torch.tensor(energies, dtype=dtype),
            "forces": torch.tensor(system["forces"][take] / scale, dtype=dtype),
        }

    def run(self, *, shared: bool, pruned: bool) -> Tables:
        """Gradients of the loss by all weights; the loss by member.

        shared : one environment vector for all members, instead of one each as when they are
            trained one after the other. pruned : gradients are asked of the weights alone.
        """
        members = list(self.model.networks.members)
        groups = [members] if shared else [[one] for one in members]
        for parameter in self.model.parameters:
            parameter.grad = None
        losses = np.zeros(len(members))
        for part in self.parts:
            found = []
            for group in groups:
                own = torch.stack(self._losses(part, group))
                own.sum().backward(inputs=self.model.parameters if pruned else None)
                found.append(own.detach().double().numpy())
                del own  # the graph goes before the next is made
            losses += np.concatenate(found)
        return {"losses": losses, **self._gradients(members)}

    def _losses(self, part: dict[str, Any], members: list[Any]) -> list[torch.Tensor]:
        positions = part["positions"]
        flat = positions.view(-1, 3)
        pairs = flat[part["indices"][0]] - flat[part["indices"][1]] + part["shifts"]
        around = Neighbors(part["indices"], pairs.norm(2, -1), pairs)
        species = torch.zeros(positions.shape[:2], dtype=torch.long)
        aev = self.model.computer.compute_from_neighbors(species, positions, around)
        return [self._loss(part, one(species, aev)) for one in members]

    def _loss(self, part: dict[str, Any], energies: torch.Tensor) -> torch.Tensor:
        positions = part["positions"]
        (slope,) = torch.autograd.grad(energies.sum(), positions, create_graph=True)
        wrong = (slope + part["forces"]).square().sum(dim=(1, 2)) * (self.l0 / positions.shape[1])
        loss: torch.Tensor = ((energies - part["energies"]).square() + wrong).sum() / self.count
        return loss

    def _gradients(self, members: list[Any]) -> Tables:
        """Of each layer's weights and biases, members side by side."""
        networks = [one.atomics["Al"] for one in members]
        layers = [[*network.layers, network.final_layer] for network in networks]
        found = {}
        for number in range(len(layers[0])):
            for name in ("weight", "bias"):
                grads = [getattr(own[number], name).grad.numpy() for own in layers]
                found[f"{name}_{number}"] = np.stack(grads)
        return found


def timed(call: Callable[[], Tables], repeats: int) -> tuple[Tables, dict[str, Any]]:
    """The last answer; processor and wall seconds of each repetition."""
    took: dict[str, Any] = {"cpu": [], "wall": []}
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        found = call()
        took["cpu"].append(time.process_time() - cpu)
        took["wall"].append(time.perf_counter() - wall)
    return found, took


def resident(name: str) -> int:
    """Bytes of this process that are in memory now (VmRSS) or were at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def answer(tables: Tables, request: dict[str, Any], kept: dict[str, Ani]) -> dict[str, Any]:
    torch.set_num_threads(request["threads"])
    options = {name: request[name] for name in ("neighbours", "batched", "double")}
    key = json.dumps(options)
    if key not in kept:
        kept[key] = Ani(tables, **options)
    model = kept[key]
    with np.load(request["system"]) as file:
        system = dict(file)
    # forgets the largest resident size so far
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if request["call"] == "evaluate":
        call = partial(model.evaluate, system, stress=request["stress"], each=request["each"])
    else:
        step = Step(model, system, chunk=request["chunk"])
        call = partial(step.run, shared=request["shared"], pruned=request["pruned"])
    before = resident("VmRSS")
    found, took = timed(call, request["repeats"])
    took["peak_bytes"] = resident("VmHWM") - before
    if request["out"]:
        np.savez(request["out"], **found)
    return took


def main() -> None:
    with np.load(sys.argv[1]) as file:
        tables = dict(file)
    # BmmEnsemble marks ranges for NVIDIA's profiler, which a CPU build of torch refuses
    torch.cuda.nvtx.range_push = torch.cuda.nvtx.range_pop = lambda *_: 0
    kept: dict[str, Ani] = {}
    about = {
        "torch": torch.__version__,
        "fast_cell_list": CLIST_IS_INSTALLED,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(tables, json.loads(line), kept)), flush=True)


if __name__ == "__main__":
    main()
