"""Networks as NeuroChem stores them: an `.nnf` file and raw weights beside it.

An `.nnf` file holds the length of a text in decimal digits, `=`, one byte, and the text as a bz2
stream. The text gives the input size and, for each layer, its nodes, the code of its activation,
its inputs (`blocksize`), and the names of the files with its weights (float32, little-endian, row
by row, (nodes, inputs)) and its biases, each with the number of values.
"""

from __future__ import annotations

import bz2
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.data.text import decoded, read_bytes
from athanor.errors import FormatError

_CELU, _LINEAR = 9, 6
_LONGEST = 1_000_000
"""Characters of the text, at most: a small file must not unpack into gigabytes."""
_MOST_NODES = 10_000
_SETTING = re.compile(r"([A-Za-z_0-9]+)\s*=\s*([^;]*);")
_FILE = re.compile(r"FILE:([^/\\\[\]]+)\[(\d+)\]")

Arrays = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class Perceptron:
    """One network of one species: weights (n_out, n_in) and biases (n_out,) of each layer."""

    weights: Arrays
    biases: Arrays

    @property
    def sizes(self) -> tuple[int, ...]:
        """Outputs of each layer."""
        return tuple(len(bias) for bias in self.biases)


def read_network(path: Path, *, element: str, inputs: int) -> Perceptron:
    """Read an `.nnf` file and its weights.

    Parameters
    ----------
    path : the `.nnf` file; the files it names are beside it.
    element : chemical symbol that it must be for.
    inputs : length of the environment vector.

    Raises FormatError, which names the file at fault: damaged, another element, another input size,
    an activation that is none of CELU (0.1) and, in the last layer, linear, layers that do not
    follow from each other, weights that are missing, too short, too long or not finite.
    """
    text = _unpacked(path)
    head, *parts = re.split(r"layer\s*\[", text)
    _check_head(path, head, element=element, inputs=inputs)
    if not parts:
        raise FormatError(path, None, "describes no layer; at least one is needed")
    weights, biases = [], []
    width = inputs
    for number, part in enumerate(parts, start=1):
        settings = dict(_SETTING.findall(part))
        nodes = _check_layer(path, settings, number, width=width, last=number == len(parts))
        weights.append(_array(path, settings, "weights", number, count=nodes * width))
        biases.append(_array(path, settings, "biases", number, count=nodes))
        weights[-1] = weights[-1].reshape(nodes, width)
        width = nodes
    return Perceptron(tuple(weights), tuple(biases))


def _unpacked(path: Path) -> str:
    """The text of an `.nnf` file."""
    content = read_bytes(path)
    digits, equals, _ = content[:20].partition(b"=")
    if not equals or not digits.strip().isdigit():
        raise FormatError(path, None, "does not begin with the length of its text and '='")
    length = int(digits)
    if length > _LONGEST:
        raise FormatError(
            path, None, f"promises a text of {length} characters, at most {_LONGEST} are read"
        )
    stream = content[len(digits) + 2 :]
    unpacker = bz2.BZ2Decompressor()
    try:
        text = unpacker.decompress(stream, max_length=length + 1)
    except (OSError, ValueError, EOFError):
        raise FormatError(path, None, "its bz2 stream is damaged; copy the file again") from None
    if len(text) != length:
        raise FormatError(
            path,
            None,
            f"promises a text of {length} characters, but its bz2 stream holds "
            f"{'more' if len(text) > length else len(text)}; copy the file again",
        )
    return decoded(path, text, expected="the description of a network")


def _check_head(path: Path, head: str, *, element: str, inputs: int) -> None:
    settings = dict(_SETTING.findall(head))
    found = _whole(path, settings, "inputsize", where="the head")
    if found != inputs:
        raise FormatError(
            path,
            None,
            f"its input size is {found}, but the environment vector has {inputs} components; "
            "the .params file and the networks must belong together",
        )
    named = re.search(r"atom_net\s+(\w+)", head)
    if named is None or named[1] != element:
        raise FormatError(
            path, None, f"is for {named[1] if named else 'no element'}, expected {element}"
        )


def _check_layer(
    path: Path, settings: dict[str, str], number: int, *, width: int, last: bool
) -> int:
    """The nodes of a layer, once it is one that is evaluated here."""
    where = f"layer {number}"
    nodes = _whole(path, settings, "nodes", where=where)
    activation = _whole(path, settings, "activation", where=where)
    allowed = _LINEAR if last else _CELU
    if activation != allowed:
        name = "6 (linear) in the last layer" if last else "9 (CELU, alpha 0.1) in a hidden layer"
        raise FormatError(
            path, None, f"{where} has activation {activation}; only {name} can be evaluated"
        )
    if not 1 <= nodes <= _MOST_NODES or (last and nodes != 1):
        wanted = "1 in the last layer" if last else f"1 to {_MOST_NODES}"
        raise FormatError(path, None, f"{where} has {nodes} nodes, expected {wanted}")
    block = _whole(path, settings, "blocksize", where=where, default=width)
    if block != width:
        raise FormatError(
            path, None, f"{where} takes {block} inputs, but the one before gives {width}"
        )
    for key in ("type", "btchnorm"):
        if _whole(path, settings, key, where=where, default=0) != 0:
            raise FormatError(
                path,
                None,
                f"{where} has {key} = {settings[key]}; only plain layers (0) can be evaluated",
            )
    return nodes


def _whole(
    path: Path, settings: dict[str, str], key: str, *, where: str, default: int | None = None
) -> int:
    """A whole number among the settings of a block."""
    text = settings.get(key)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"\d{1,9}", text.strip()):
        raise FormatError(path, None, f"{where} has {key} = {text}, expected a whole number")
    return int(text)


def _array(
    path: Path, settings: dict[str, str], key: str, number: int, *, count: int
) -> NDArray[np.float32]:
    """The weights or biases of a layer, from the file that the `.nnf` file names."""
    text = settings.get(key, "")
    named = _FILE.fullmatch(text.strip())
    if named is None or named[1].startswith("."):
        raise FormatError(
            path, None, f"layer {number} has {key} = {text!r}, expected FILE:name[count]"
        )
    if int(named[2]) != count:
        raise FormatError(
            path, None, f"layer {number} promises {named[2]} {key}, but its sizes need {count}"
        )
    source = path.parent / named[1]
    content = read_bytes(source)
    if len(content) != 4 * count:
        raise FormatError(
            source,
            None,
            f"holds {len(content)} bytes, but layer {number} of {path.name} needs {4 * count} "
            f"({count} float32 values); copy the file again",
        )
    values = np.frombuffer(content, dtype="<f4").astype(np.float32)
    if not np.isfinite(values).all():
        raise FormatError(source, None, f"holds {key} that are not finite; copy the file again")
    return values
