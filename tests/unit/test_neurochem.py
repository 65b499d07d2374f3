"""Reading published ANI folders: what they hold, and every way they can be broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from neurochem_files import LENGTH, SPECIES, description, packed, weights_of, write_published

import athanor
from athanor.errors import ConfigError, FormatError
from athanor.loading import files_of
from athanor.oracle.potential import PotentialOracleConfig
from athanor.potentials._ani.neurochem import HARTREE, read_neurochem
from athanor.potentials.ani import AniPotential


@pytest.fixture
def info(tmp_path: Path) -> Path:
    return write_published(tmp_path / "published")


def test_everything_is_read(info: Path) -> None:
    model = read_neurochem(info)
    assert model.aev.species == SPECIES
    assert (model.aev.radial_cutoff, model.aev.angular_cutoff) == (4.5, 3.5)
    assert (model.aev.eta_r, model.aev.eta_a, model.aev.zeta) == (4.0, 2.0, 8.0)
    assert model.aev.shf_r == (1.5, 2.5, 3.5)
    assert model.aev.shf_z == (0.78539816, 2.3561945)
    assert model.aev.length == LENGTH
    assert model.scale == HARTREE
    np.testing.assert_array_equal(model.offsets, HARTREE * np.array([[-1.25, -2.5]] * 2))
    for number in range(2):
        drawn = weights_of(number)
        for symbol, network in zip(SPECIES, model.networks, strict=True):
            for layer, (weight, bias) in enumerate(drawn[symbol]):
                np.testing.assert_array_equal(network.weights[layer][number], weight)
                np.testing.assert_array_equal(network.biases[layer][number], bias)


def test_every_way_to_name_it(info: Path, tmp_path: Path, monkeypatch) -> None:
    expected = read_neurochem(info).networks[0].weights[0]
    inside = write_published(tmp_path / "other").parent
    monkeypatch.chdir(info.parent / "model")
    for path in (info, info.parent / "model", info.parent, Path(), inside):
        found = athanor.load(path)
        assert isinstance(found, AniPotential)
        np.testing.assert_array_equal(found.model.networks[0].weights[0], expected)
    with pytest.raises(ConfigError, match="leave species out"):
        athanor.load(info, ["Al", "Ni"])


def test_blank_lines_and_settings_that_follow_from_others_may_be_absent(info: Path) -> None:
    expected = read_neurochem(info)
    for name in ("two.params", "sae.dat"):
        path = info.parent / "model" / name
        path.write_text("\n" + path.read_text().replace("\n", "\n\n"))
    path = network(info, "ANN-Ni.nnf")
    path.write_bytes(packed(re.sub("(blocksize|type|btchnorm)=.*\n", "", description("Ni"))))
    found = read_neurochem(info)
    assert found.aev == expected.aev
    for one, two in zip(found.networks, expected.networks, strict=True):
        for left, right in zip(one.weights, two.weights, strict=True):
            np.testing.assert_array_equal(left, right)


def test_a_folder_of_nothing_is_no_potential(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not the header of a saved potential"):
        athanor.load(tmp_path)


def test_a_folder_without_or_with_two_info_files_is_no_guess(info: Path) -> None:
    (info.parent / "again.info").write_text(info.read_text())
    with pytest.raises(FormatError, match=r"2 \.info files"):
        athanor.load(info.parent)
    (info.parent / "again.info").unlink()
    info.rename(info.with_name("renamed.info"))
    with pytest.raises(FormatError, match=r"0 \.info files") as caught:
        athanor.load(info.parent / "model")
    assert caught.value.path == info.parent / "model"


def test_the_level_of_a_teacher_follows_from_all_its_files(info: Path) -> None:
    def level(path: Path) -> str:
        return PotentialOracleConfig(path=path).build().level

    copy = write_published(info.parent.parent / "copy")
    assert level(copy) == level(info)
    assert info in files_of(info)
    weights = copy.parent / "model" / "train1" / "networks" / "ANN-Al.nnf-l2.wparam"
    values = np.frombuffer(weights.read_bytes(), dtype="<f4") * np.float32(1.5)
    weights.write_bytes(values.tobytes())
    assert level(copy) != level(info)


def network(info: Path, name: str, number: int = 1) -> Path:
    return info.parent / "model" / f"train{number}" / "networks" / name


def replaced(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def described(info: Path, **changes: object) -> Path:
    path = network(info, "ANN-Ni.nnf")
    path.write_bytes(packed(description("Ni", **changes)))
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def missing(path: Path) -> Path:
    path.unlink()
    return path


def other_layers(info: Path) -> Path:
    """The second member of Al as a good network of other layers."""
    path = network(info, "ANN-Al.nnf")
    path.write_bytes(
        packed(
            description("Al")
            .replace("nodes=6;", "nodes=7;")
            .replace(f"wparam[{6 * LENGTH}]", f"wparam[{7 * LENGTH}]")
            .replace("bparam[6]", "bparam[7]")
            .replace("blocksize=6;", "blocksize=7;")
            .replace("wparam[6]", "wparam[7]")
        )
    )
    for name, count in (("l1.wparam", 7 * LENGTH), ("l1.bparam", 7), ("l2.wparam", 7)):
        network(info, f"ANN-Al.nnf-{name}").write_bytes(np.ones(count, "<f4").tobytes())
    return path


W, B = "ANN-Al.nnf-l1.wparam", "ANN-Ni.nnf-l3.bparam"
FULL = 4 * 6 * LENGTH
BREAKS: dict[str, tuple[Callable[[Path], Path], str]] = {
    # the .info file
    "no .info": (missing, "cannot be read"),
    "short .info": (lambda i: replaced(i, "model/train\n2\n", "model/train\n"), "four lines"),
    "blank line": (lambda i: replaced(i, "model/sae.dat", ""), "four lines"),
    "binary .info": (lambda i: written(i, b"\xff\xfe\x00"), "not text"),
    "count is no number": (lambda i: replaced(i, "\n2\n", "\ntwo\n"), "line 4: found 'two'"),
    "no members": (lambda i: replaced(i, "\n2\n", "\n0\n"), "1 to 1000"),
    "too many members": (lambda i: replaced(i, "\n2\n", "\n4000000\n"), "1 to 1000"),
    "absolute path": (lambda i: replaced(i, "model/two", "/etc/two"), "line 1: .*not inside"),
    "path that leaves": (lambda i: replaced(i, "model/sae", "../x/sae"), "line 2: .*not inside"),
    "members outside": (lambda i: replaced(i, "model/train", "../t"), "line 3: .*not inside"),
}
PARTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    # the symmetry functions
    "no params": (lambda p: missing(p / "two.params"), "cannot be read"),
    "no key": (lambda p: replaced(p / "two.params", "EtaA =", "EtaB ="), "gives no EtaA"),
    "two EtaR": (
        lambda p: replaced(p / "two.params", "[4.0000000e+00]", "[4.0,8.0]"),
        "gives 2 values of EtaR; only one",
    ),
    "two EtaA": (
        lambda p: replaced(p / "two.params", "EtaA = [2.0000000e+00]", "EtaA = [2.0,8.0]"),
        "gives 2 values of EtaA; only one",
    ),
    "two Zeta": (
        lambda p: replaced(p / "two.params", "[8.0000000e+00]", "[8.0,1.0,3.0]"),
        "gives 3 values of Zeta; only one",
    ),
    "no number": (lambda p: replaced(p / "two.params", "4.5000e+00", "far"), "Rcr = 'far'"),
    "open bracket": (lambda p: replaced(p / "two.params", "[Ni,Al]", "[Ni,Al"), "lacks a bracket"),
    "no equals": (lambda p: replaced(p / "two.params", "TM = 1", "TM 1"), "line 1: .*KEY = VALUE"),
    "other TM": (lambda p: replaced(p / "two.params", "TM = 1", "TM = 0"), "only TM = 1"),
    "no element": (lambda p: replaced(p / "two.params", "[Ni,Al]", "[Ni,Xx]"), "'Xx'"),
    "element twice": (lambda p: replaced(p / "two.params", "[Ni,Al]", "[Ni,Ni]"), "twice"),
    "negative cutoff": (lambda p: replaced(p / "two.params", "4.5000e", "-4.5e"), "radial cutoff"),
    "cutoff NaN": (lambda p: replaced(p / "two.params", "3.5000e+00\nE", "nan\nE"), "angular cut"),
    "eta zero": (lambda p: replaced(p / "two.params", "[2.0000000e+00]", "[0]"), "angular eta"),
    "zeta below 1": (lambda p: replaced(p / "two.params", "[8.0000000e+00]", "[.5]"), "zeta is"),
    "infinite shift": (lambda p: replaced(p / "two.params", "7.8539816e-01", "inf"), "ShfZ"),
    # atomic energies
    "no energies": (lambda p: missing(p / "sae.dat"), "cannot be read"),
    "element without energy": (lambda p: replaced(p / "sae.dat", "Ni,1", "Cu,1"), "energy of Ni"),
    "energy is no number": (lambda p: replaced(p / "sae.dat", "-1.25", "low"), "line 2: found"),
    "energy is NaN": (lambda p: replaced(p / "sae.dat", "-1.25", "nan"), "line 2: found"),
    "energy line": (lambda p: replaced(p / "sae.dat", "Al,0", "Al 0"), "line 1: found"),
    # members
    "member of other params": (
        lambda p: replaced(p / "train1" / "two.params", "ShfA = [1.5", "ShfA = [1.6"),
        "differs from .*two.params",
    ),
}
NETWORKS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no network": (lambda i: missing(network(i, "ANN-Ni.nnf")), "cannot be read"),
    "no length": (lambda i: written(network(i, "ANN-Ni.nnf"), b"abc"), "length of its text"),
    "empty": (lambda i: written(network(i, "ANN-Ni.nnf"), b""), "length of its text"),
    "enormous": (
        lambda i: written(network(i, "ANN-Ni.nnf"), packed("", length=10**9)),
        "at most 1000000",
    ),
    "unpacks to more": (
        lambda i: written(network(i, "ANN-Ni.nnf"), packed("x" * 10**6, length=12)),
        "holds more",
    ),
    "no bz2": (lambda i: written(network(i, "ANN-Ni.nnf"), b"12=\nnot bz2 at all"), "damaged"),
    "cut off": (
        lambda i: written(network(i, "ANN-Ni.nnf"), packed(description("Ni"))[:-60]),
        "promises a text of",
    ),
    "other input size": (lambda i: described(i, inputsize=96), "input size is 96, .* 18 comp"),
    "other element": (
        lambda i: written(network(i, "ANN-Ni.nnf"), packed(description("Al"))),
        "is for Al, expected Ni",
    ),
    "no layers": (
        lambda i: written(
            network(i, "ANN-Ni.nnf"), packed(f"inputsize={LENGTH};\natom_net Ni $\n$")
        ),
        "describes no layer",
    ),
    "unknown activation": (lambda i: described(i, activation=5), "layer 1 has activation 5"),
    "linear in the middle": (lambda i: described(i, activation=6), "layer 1 has activation 6"),
    "no activation": (lambda i: described(i, activation="x"), "activation = x, expected a whole"),
    "no nodes": (lambda i: described(i, nodes=0), "layer 1 has 0 nodes"),
    "layers do not follow": (lambda i: described(i, nodes=7), "promises 90 weights"),
    "other inputs": (lambda i: described(i, blocksize=17), "takes 17 inputs, .* gives 18"),
    "convolution": (lambda i: described(i, type=1), "type = 1; only plain"),
    "batch normalisation": (lambda i: described(i, btchnorm=1), "btchnorm = 1; only plain"),
    "weights elsewhere": (
        lambda i: described(i, weights="FILE:../../secret[90]"),
        "expected FILE:name",
    ),
    "no biases": (lambda i: described(i, biases="none"), "expected FILE:name"),
    "missing weights": (lambda i: missing(network(i, W)), "cannot be read"),
    "missing biases": (lambda i: missing(network(i, B)), "cannot be read"),
    "short weights": (
        lambda i: written(network(i, W), network(i, W).read_bytes()[:-1]),
        f"holds {FULL - 1} bytes, but layer 1 of ANN-Al.nnf needs {FULL}",
    ),
    "long weights": (
        lambda i: written(network(i, W), network(i, W).read_bytes() + b"1234"),
        f"holds {FULL + 4} bytes",
    ),
    "short biases": (lambda i: written(network(i, B), b""), "holds 0 bytes"),
    "weights NaN": (
        lambda i: written(network(i, W), np.full(6 * LENGTH, np.nan, "<f4").tobytes()),
        "not finite",
    ),
    "members of other layers": (other_layers, "its layers are .*all members must have the same"),
}
CASES = {
    **BREAKS,
    **{name: ((lambda i, f=f: f(i.parent / "model")), m) for name, (f, m) in PARTS.items()},
    **NETWORKS,
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_broken_is_said_in_one_sentence(case: str, info: Path) -> None:
    spoil, message = CASES[case]
    culprit = spoil(info)
    with pytest.raises(FormatError, match=message) as caught:
        athanor.load(info)
    assert caught.value.path == culprit
    assert str(caught.value).startswith(str(culprit))
    assert "\n" not in str(caught.value)


def test_the_last_layer_must_be_one_linear_node(info: Path) -> None:
    path = network(info, "ANN-Ni.nnf")
    good = description("Ni")
    for old, new, message in (
        ("activation=6;", "activation=9;", "layer 3 has activation 9; only 6"),
        ("nodes=1;", "nodes=2;", "layer 3 has 2 nodes, expected 1"),
    ):
        path.write_bytes(packed(good.replace(old, new)))
        with pytest.raises(FormatError, match=message):
            athanor.load(info)


def test_a_link_out_of_the_folder_is_not_followed(info: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.dat"
    outside.write_text("Al,0=-1\nNi,1=-1\n")
    sae = info.parent / "model" / "sae.dat"
    sae.unlink()
    sae.symlink_to(outside)
    with pytest.raises(FormatError, match=r"line 2: .*not inside"):
        athanor.load(info)


def test_random_damage_is_a_format_error_or_harmless(info: Path) -> None:
    """One byte changed or the end cut off, in any file but the weights, whose bits are free."""
    rng = np.random.default_rng(5)
    files = [file for file in files_of(info) if file.suffix in (".info", ".params", ".dat", ".nnf")]
    refused = 0
    for _ in range(150):
        file = files[rng.integers(len(files))]
        content = file.read_bytes()
        at = int(rng.integers(len(content)))
        bad = bytearray(content)
        bad[at] = int(rng.integers(256))
        file.write_bytes(bytes(bad) if rng.random() < 0.6 else content[:at])
        try:
            athanor.load(info)
        except FormatError:
            refused += 1
        file.write_bytes(content)
    assert refused > 60
