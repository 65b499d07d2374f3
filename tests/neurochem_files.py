"""Published ANI potentials as NeuroChem writes them, small and drawn, for tests."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np

SPECIES = ("Ni", "Al")
LENGTH = 2 * 3 + 3 * 2 * 2
NODES = {"Ni": (5, 4, 1), "Al": (6, 1)}
ENERGIES = {"Al": -2.5, "Ni": -1.25}
PARAMS = """TM = 1
Rcr = 4.5000e+00
Rca = 3.5000e+00
EtaR = [4.0000000e+00]
ShfR = [1.5000000e+00,2.5000000e+00,3.5000000e+00]
Zeta = [8.0000000e+00]
ShfZ = [7.8539816e-01,2.3561945e+00]
EtaA = [2.0000000e+00]
ShfA = [1.5000000e+00,2.5000000e+00]
Atyp = [Ni,Al]
"""


def weights_of(seed: int) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Per element the weights and biases of each layer, drawn."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for symbol, nodes in NODES.items():
        shapes = zip(nodes, (LENGTH, *nodes[:-1]), strict=True)
        drawn[symbol] = [
            (rng.normal(size=shape).astype("<f4"), rng.normal(size=shape[0]).astype("<f4"))
            for shape in shapes
        ]
    return drawn


def description(symbol: str, **changes: object) -> str:
    """The text of an `.nnf` file; `changes` are of the first layer, `inputsize` of the head."""
    text = f"inputsize={changes.pop('inputsize', LENGTH)};\natom_net {symbol} $\n"
    width = LENGTH
    for layer, nodes in enumerate(NODES[symbol], start=1):
        settings: dict[str, object] = {
            "nodes": nodes,
            "activation": 6 if layer == len(NODES[symbol]) else 9,
            "type": 0,
            "blocksize": width,
            "btchnorm": 0,
            "weights": f"FILE:ANN-{symbol}.nnf-l{layer}.wparam[{nodes * width}]",
            "biases": f"FILE:ANN-{symbol}.nnf-l{layer}.bparam[{nodes}]",
        }
        if layer == 1:
            settings |= changes
        text += "layer [\n" + "".join(f"{k}={v};\n" for k, v in settings.items()) + "]\n"
        width = nodes
    return text + "\n $ \n"


def packed(text: str, *, length: int | None = None) -> bytes:
    return f"{len(text) if length is None else length}=\n".encode() + bz2.compress(text.encode())


def write_published(folder: Path, *, n_members: int = 2) -> Path:
    """A small potential as NeuroChem writes it; returns its `.info` file."""
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "two.params").write_text(PARAMS)
    energies = "".join(f"{s},{k}={ENERGIES[s]}\n" for k, s in enumerate(sorted(ENERGIES)))
    (model / "sae.dat").write_text(energies)
    for number in range(n_members):
        networks = model / f"train{number}" / "networks"
        networks.mkdir(parents=True)
        (networks.parent / "two.params").write_text(PARAMS)
        for symbol, layers in weights_of(number).items():
            (networks / f"ANN-{symbol}.nnf").write_bytes(packed(description(symbol)))
            for layer, (weight, bias) in enumerate(layers, start=1):
                stem = f"ANN-{symbol}.nnf-l{layer}"
                (networks / f"{stem}.wparam").write_bytes(weight.tobytes())
                (networks / f"{stem}.bparam").write_bytes(bias.tobytes())
    info = folder / "model.info"
    info.write_text(f"model/two.params\nmodel/sae.dat\nmodel/train\n{n_members}\n")
    return info
