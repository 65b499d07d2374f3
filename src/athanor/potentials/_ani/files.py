"""An ANI ensemble as files: a text header and its numbers in the safetensors format.

`potential.json` says what there is, `weights.safetensors` holds `offsets` (n_members, n_species) in
float64 and, for each element and layer, `Al.0.weight` (n_members, n_out, n_in) and `Al.0.bias`
(n_members, n_out) in float32. Nothing is unpickled. The header holds digests of both files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from athanor.data.species import check_species
from athanor.errors import ConfigError, FormatError
from athanor.potentials import HEADER
from athanor.potentials._ani.model import CELU_ALPHA, AevSpec, AniModel, Network, spec_fault
from athanor.potentials._ani.program import Device, Precision
from athanor.potentials._seal import LARGEST_SCALE, check_header, read_weights, sealed

WEIGHTS = "weights.safetensors"
_VERSION = 2
_SCALARS = ("radial_cutoff", "angular_cutoff", "eta_r", "eta_a", "zeta")
_LISTS = ("shf_r", "shf_a", "shf_z")
_MOST = 10_000
"""Members, or nodes of a layer, at most."""
_LONGEST = 60
"""Characters of a value in a sentence."""

Word = TypeVar("Word", bound=str)
Sizes = tuple[tuple[int, ...], ...]


def write_model(folder: Path, model: AniModel, *, precision: Precision, device: Device) -> None:
    """Write header and numbers into an existing folder."""
    from safetensors.numpy import save

    aev = model.aev
    header = {
        "kind": "ani",
        "version": _VERSION,
        "precision": precision,
        "device": device,
        "species": list(aev.species),
        "aev": {key: getattr(aev, key) for key in (*_SCALARS, *_LISTS)},
        "scale": model.scale,
        "celu_alpha": CELU_ALPHA,
        "n_members": model.n_members,
        "layers": {
            symbol: [bias.shape[1] for bias in network.biases]
            for symbol, network in zip(aev.species, model.networks, strict=True)
        },
    }
    arrays: dict[str, NDArray[Any]] = {"offsets": model.offsets}
    for symbol, network in zip(aev.species, model.networks, strict=True):
        for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
            arrays[f"{symbol}.{layer}.weight"] = weight
            arrays[f"{symbol}.{layer}.bias"] = bias
    content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
    (folder / WEIGHTS).write_bytes(content)
    text = json.dumps(sealed(header, content), indent=1)
    (folder / HEADER).write_text(text + "\n", encoding="utf-8")


def read_model(folder: Path) -> tuple[AniModel, Precision, Device]:
    """The model, its precision and device; FormatError names the file and what is wrong in it."""
    path = folder / HEADER
    header = _header(path)
    precision: Precision = _choice(path, header, "precision", "float32", "float64")
    device: Device = _choice(path, header, "device", "cpu", "auto")
    spec = _spec(path, header)
    count, layers = _sizes(path, header, spec)
    check_header(path, header)
    arrays = _arrays(folder / WEIGHTS, header, _layout(spec, count, layers))
    networks = tuple(
        Network(
            tuple(arrays[f"{symbol}.{layer}.weight"] for layer in range(len(sizes))),
            tuple(arrays[f"{symbol}.{layer}.bias"] for layer in range(len(sizes))),
        )
        for symbol, sizes in zip(spec.species, layers, strict=True)
    )
    return AniModel(spec, networks, arrays["offsets"], float(header["scale"])), precision, device


def _header(path: Path) -> dict[str, Any]:
    """The header, with every key and all but lists and tables looked at."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(path, None, f"not the header of an ani potential ({error})") from None
    needed = ("precision", "device", "species", "aev", "scale", "celu_alpha", "n_members", "layers")
    header: dict[str, Any] = found if isinstance(found, dict) else {}
    missing = [key for key in needed if key not in header]
    if missing:
        raise FormatError(path, None, f"lacks {', '.join(missing)}; copy the folder again")
    if header.get("version") != _VERSION:
        raise FormatError(
            path, None, f"version is {_said(header.get('version'))}, this athanor reads {_VERSION}"
        )
    if header["celu_alpha"] != CELU_ALPHA:
        raise FormatError(
            path,
            None,
            f"celu_alpha is {_said(header['celu_alpha'])}, only {CELU_ALPHA} is evaluated",
        )
    scale = header["scale"]
    if not _is_number(scale) or not 1 / LARGEST_SCALE <= scale <= LARGEST_SCALE:
        raise FormatError(
            path,
            None,
            f"scale is {_said(scale)}, expected {1 / LARGEST_SCALE:g} to {LARGEST_SCALE:g} eV",
        )
    return header


def _choice(path: Path, header: Mapping[str, Any], key: str, *allowed: Word) -> Word:
    """One of the allowed words."""
    for word in allowed:
        if header[key] == word:
            return word
    raise FormatError(path, None, f"{key} is {_said(header[key])}, expected {' or '.join(allowed)}")


def _spec(path: Path, header: Mapping[str, Any]) -> AevSpec:
    species, aev = header["species"], header["aev"]
    if not isinstance(species, list) or not species or not isinstance(aev, dict):
        raise FormatError(path, None, "expected a list of species and a table aev")
    for key in _SCALARS:
        if not _is_number(aev.get(key)):
            raise FormatError(
                path, None, f"aev.{key} is {_said(aev.get(key))}, expected a finite number"
            )
    for key in _LISTS:
        values = aev.get(key)
        if not isinstance(values, list) or not all(map(_is_number, values)):
            raise FormatError(
                path, None, f"aev.{key} is {_said(values)}, expected a list of finite numbers"
            )
    try:
        symbols = check_species([str(symbol) for symbol in species], where="species")
    except ConfigError as error:
        raise FormatError(path, None, str(error)) from None
    spec = AevSpec(
        species=symbols,
        radial_cutoff=float(aev["radial_cutoff"]),
        angular_cutoff=float(aev["angular_cutoff"]),
        eta_r=float(aev["eta_r"]),
        shf_r=tuple(map(float, aev["shf_r"])),
        eta_a=float(aev["eta_a"]),
        zeta=float(aev["zeta"]),
        shf_a=tuple(map(float, aev["shf_a"])),
        shf_z=tuple(map(float, aev["shf_z"])),
    )
    fault = spec_fault(spec)
    if fault is not None:
        raise FormatError(path, None, fault)
    return spec


def _is_number(value: object) -> bool:
    """Whether it is a finite number; an integer may have more digits than a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False


def _said(value: object) -> str:
    """What was found, short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _sizes(path: Path, header: Mapping[str, Any], spec: AevSpec) -> tuple[int, Sizes]:
    """The number of members and, for each species, the outputs of each layer."""
    count, layers = header["n_members"], header["layers"]
    if type(count) is not int or not 1 <= count <= _MOST:
        raise FormatError(path, None, f"n_members is {_said(count)}, expected 1 to {_MOST}")
    if not isinstance(layers, dict) or set(layers) != set(spec.species):
        raise FormatError(
            path, None, f"layers is {_said(layers)}, expected one list for each species"
        )
    for symbol, sizes in layers.items():
        good = isinstance(sizes, list) and all(type(n) is int and 1 <= n <= _MOST for n in sizes)
        if not good or not sizes or sizes[-1] != 1:
            raise FormatError(
                path, None, f"layers of {symbol} are {_said(sizes)}, expected sizes that end with 1"
            )
    return count, tuple(tuple(layers[symbol]) for symbol in spec.species)


def _layout(
    spec: AevSpec, count: int, layers: Sizes
) -> dict[str, tuple[tuple[int, ...], type[np.floating[Any]]]]:
    """Shape and type of every array that there must be."""
    layout: dict[str, tuple[tuple[int, ...], type[np.floating[Any]]]] = {
        "offsets": ((count, len(spec.species)), np.float64)
    }
    for symbol, sizes in zip(spec.species, layers, strict=True):
        width = spec.length
        for layer, nodes in enumerate(sizes):
            layout[f"{symbol}.{layer}.weight"] = ((count, nodes, width), np.float32)
            layout[f"{symbol}.{layer}.bias"] = ((count, nodes), np.float32)
            width = nodes
    return layout


def _arrays(
    path: Path,
    header: Mapping[str, Any],
    layout: Mapping[str, tuple[tuple[int, ...], type[np.floating[Any]]]],
) -> dict[str, NDArray[Any]]:
    """The arrays of the file of numbers, as the header promises, each as laid out and finite."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = read_weights(path, header)
    try:
        arrays: dict[str, NDArray[Any]] = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise FormatError(path, None, f"not a whole safetensors file ({error})") from None
    if set(arrays) != set(layout):
        odd = sorted(set(arrays) ^ set(layout))
        raise FormatError(
            path, None, f"{odd[0]!r} is missing or superfluous beside {HEADER}; copy both again"
        )
    for key, (shape, kind) in layout.items():
        array = arrays[key]
        if array.shape != shape or array.dtype != kind:
            raise FormatError(
                path,
                None,
                f"{key} is {array.dtype} {array.shape}, expected {kind.__name__} {shape}",
            )
        if not np.isfinite(array).all():
            raise FormatError(path, None, f"{key} holds numbers that are not finite")
    return arrays
