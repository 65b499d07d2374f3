"""MLIP's .mtp files: bit-equal round trips, and one sentence for every wrong file."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from athanor.errors import ConfigError, FolderError, FormatError
from athanor.potentials._mtp.mlip_file import read_mtp, write_mtp
from athanor.potentials._mtp.model import IndexTables, MtpModel

SPECIES = ("Al", "Ni")


def potential(*, n_species: int = 2, n_radial: int = 2, name: str = "small") -> MtpModel:
    rng = np.random.default_rng(5)
    tables = IndexTables(
        basic=np.array(
            [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]], dtype=np.int32
        ),
        times=np.array(
            [[0, 0, 1, 5], [1, 1, 1, 6], [2, 2, 1, 6], [3, 3, -1, 6], [0, 5, 1, 7]], dtype=np.int32
        ),
        mapping=np.array([0, 4, 5, 6, 7], dtype=np.int32),
        n_moments=8,
    )
    return MtpModel(
        species=SPECIES[:n_species],
        tables=tables,
        min_dist=float(rng.uniform(1, 2)),
        max_dist=float(rng.uniform(4, 6)),
        scaling=float(rng.uniform(0.1, 1)),
        radial=rng.normal(size=(n_species, n_species, n_radial, 3)),
        species_coeffs=rng.normal(size=n_species),
        moment_coeffs=rng.normal(size=5),
        name=name,
    )


@pytest.fixture
def text(tmp_path: Path) -> str:
    write_mtp(tmp_path / "whole.mtp", potential())
    return (tmp_path / "whole.mtp").read_text()


def assert_equal(one: MtpModel, other: MtpModel) -> None:
    for name in ("basic", "times", "mapping"):
        ours, theirs = getattr(one.tables, name), getattr(other.tables, name)
        assert ours.dtype == theirs.dtype == np.int32
        np.testing.assert_array_equal(ours, theirs)
    for name in ("radial", "species_coeffs", "moment_coeffs"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
        assert getattr(one, name).shape == getattr(other, name).shape
    for name in ("species", "min_dist", "max_dist", "scaling", "name"):
        assert getattr(one, name) == getattr(other, name)
    assert one.tables.n_moments == other.tables.n_moments


@pytest.mark.parametrize("n_species", [1, 2])
def test_round_trip_is_bit_equal(n_species: int, tmp_path: Path) -> None:
    model = potential(n_species=n_species)
    write_mtp(tmp_path / "p.mtp", model)
    assert_equal(read_mtp(tmp_path / "p.mtp", SPECIES[:n_species]), model)


def test_without_products(tmp_path: Path) -> None:
    model = potential()
    tables = IndexTables(
        basic=model.tables.basic,
        times=np.zeros((0, 4), dtype=np.int32),
        mapping=np.array([0, 4], dtype=np.int32),
        n_moments=5,
    )
    model = dataclasses.replace(model, tables=tables, moment_coeffs=np.array([0.1, 1 / 3]))
    write_mtp(tmp_path / "p.mtp", model)
    assert_equal(read_mtp(tmp_path / "p.mtp", SPECIES), model)


def test_white_space_is_free(text: str, tmp_path: Path) -> None:
    loose = re.sub(r"([{},=])", r" \1 ", text).replace(", ", ",\n\t").replace("\n", "\r\n")
    (tmp_path / "loose.mtp").write_bytes(loose.encode())
    assert_equal(read_mtp(tmp_path / "loose.mtp", SPECIES), potential())


def test_optional_lines_may_be_absent(text: str, tmp_path: Path) -> None:
    for key in ("potential_name", "scaling", "potential_tag"):
        text = re.sub(rf"^{key} =.*\n", "", text, flags=re.MULTILINE)
    (tmp_path / "p.mtp").write_text(text)
    assert_equal(
        read_mtp(tmp_path / "p.mtp", SPECIES),
        dataclasses.replace(potential(), scaling=1.0, name=""),
    )


def test_pairs_in_any_order(text: str, tmp_path: Path) -> None:
    begin, middle = text.index("\t\t0-0"), text.index("\t\t0-1")
    end = text.index("alpha_moments_count")
    swapped = text[:begin] + text[middle:end] + text[begin:middle] + text[end:]
    (tmp_path / "p.mtp").write_text(swapped)
    assert_equal(read_mtp(tmp_path / "p.mtp", SPECIES), potential())


def test_unused_radial_functions_are_left_out(tmp_path: Path) -> None:
    model = potential(n_radial=4)
    write_mtp(tmp_path / "p.mtp", model)
    read = read_mtp(tmp_path / "p.mtp", SPECIES)
    np.testing.assert_array_equal(read.radial, model.radial[:, :, :2])
    assert read.radial.flags.c_contiguous


def test_names_are_one_word_or_none(tmp_path: Path) -> None:
    write_mtp(tmp_path / "a.mtp", potential(name="of  two\nwords"))
    assert read_mtp(tmp_path / "a.mtp", SPECIES).name == "of_two_words"
    write_mtp(tmp_path / "b.mtp", potential(name=""))
    assert "potential_name" not in (tmp_path / "b.mtp").read_text()


WRONG = [
    # replaced text (a pattern), by what, line of the error, words of the message
    (r"^MTP", "MPT", 1, "found 'MPT', expected 'MTP'"),
    (r"1\.1\.0", "1.2.0", 2, "found '1.2.0', expected '1.1.0'"),
    (r"scaling = \S+", "scaling = 0.0", 4, "scaling 0"),
    (r"scaling = \S+", "scaling = nan", 4, "found 'nan', expected the scaling"),
    (r"scaling = \S+", "scaling = 1e999", 4, "that is finite"),
    (r"scaling = \S+", "scaling 1", 4, "expected '=' after scaling"),
    (r"species_count = 2", "species_count = two", 5, "expected the number of species"),
    (r"species_count = 2", "species_count = 0", 5, "found 0, expected the number of species"),
    (r"RBChebyshev", "RBShapeev", 7, "expected 'RBChebyshev'"),
    (r"min_dist = \S+", "min_dist = 0", 8, "positive distance"),
    (r"min_dist = \S+", "min_dist = -1", 8, "positive distance"),
    (r"max_dist = \S+", "max_dist = 0.5", 9, "expected more than min_dist"),
    (r"radial_basis_size = 3", "radial_basis_size = 4", 14, "found 3 numbers, expected 4"),
    (r"radial_basis_size = 3", "radial_basis_size = 1000000000000", 14, "found 3 numbers"),
    (r"radial_basis_size = 3", "radial_basis_size = 0", 10, "at least 1"),
    (r"funcs_count = 2", "funcs_count = 3", 16, "found '0-1', expected '{'"),
    (r"funcs_count = 2", "funcs_count = 1000000000000", 16, "found '0-1', expected '{'"),
    (r"funcs_count = 2", "funcs_count = 1", 15, "expected a pair of species (1 of 4"),
    (r"\t\t0-1", "\t\t0-2", 16, "found pair 0-2, expected indices from 0 to 1"),
    (r"\t\t0-1", "\t\t0-0", 16, "found pair 0-0 twice"),
    (r"\t\t1-1\n.*\n.*\n", "", 22, "expected a pair of species (3 of 4"),
    (
        r"radial_coeffs\n(?s:.*)alpha_moments",
        "alpha_moments",
        12,
        "no coefficients yet; fit it first",
    ),
    (r"moments_count = 8", "moments_count = 7", 29, "expected factors from 0 to 6"),
    (r"moments_count = 8", "moments_count = 1000000000000", 25, "expected from 5"),
    (r"moments_count = 8", "moments_count = 9", 29, "no row that makes moment 8"),
    (r"basic_count = 5", "basic_count = 4", 27, "found 5 rows, expected 4"),
    (r"basic_count = 5", "basic_count = 1000000000000", 27, "found 5 rows, expected 1000"),
    (r"\{\{0, 0, 0, 0\}", "{{2, 0, 0, 0}", 27, "radial function 2 in row 0"),
    (r"\{0, 1, 0, 0\}", "{0, -1, 0, 0}", 27, "powers [-1, 0, 0] in row 1"),
    (r"\{0, 1, 0, 0\}", "{0, 1000000000, 0, 0}", 27, "sum of at most"),
    (r"\{0, 1, 0, 0\}", "{0, 1, 0}", 27, "found 3 numbers, expected 4 in a row"),
    (r"\{0, 1, 0, 0\}", "{0, 1.0, 0, 0}", 27, "found '1.0', expected an integer"),
    (r"\{0, 1, 0, 0\}", "{0, 9999999999, 0, 0}", 27, "from -2147483648 to 2147483647"),
    (r"\{0, 1, 0, 0\}, ", "", 27, "found 4 rows, expected 5"),
    (r"\{0, 1, 0, 0\},", "{0, 1, 0, 0}, ,", 27, "expected another row"),
    (r"times_count = 5", "times_count = -1", 28, "at least 0"),
    (r"\{0, 5, 1, 7\}", "{0, 5, 1, 8}", 29, "a product from 5 to 7"),
    (r"\{0, 5, 1, 7\}", "{0, 5, 1, 4}", 29, "a product from 5 to 7"),
    (r"\{0, 5, 1, 7\}", "{0, -1, 1, 7}", 29, "expected factors from 0 to 7"),
    (r"\{0, 5, 1, 7\}", "{0, 7, 1, 7}", 29, "rows before it have completed"),
    (r"\{3, 3, -1, 6\}, \{0, 5, 1, 7\}", "{6, 6, 1, 7}, {3, 3, -1, 6}", 29, "row 3 of alpha_ind"),
    (r"\{0, 5, 1, 7\}", "{0, 5, 0.5, 7}", 29, "found '0.5', expected an integer"),
    (r"scalar_moments = 5", "scalar_moments = 6", 31, "found 5 moments, expected 6"),
    (r"mapping = \{0, 4", "mapping = {0, 8", 31, "found moment 8 in alpha_moment_mapping"),
    (r"mapping = \{0, 4", "mapping = {0, -4", 31, "found moment -4 in alpha_moment_mapping"),
    (r"^species_coeffs(?s:.*)", "", 32, "the file is cut short or was never fitted"),
    (r"species_coeffs = \{[^,]*, ", "species_coeffs = {", 32, "found 1 numbers, expected 2"),
    (r"moment_coeffs = \{[^,]*, ", "moment_coeffs = {", 33, "found 4 numbers, expected 5"),
    (r"moment_coeffs = \{[^,]*, ", "moment_coeffs = {inf, ", 33, "found 'inf', expected a number"),
    (r"\}\n\Z", "\n", 34, "found the end, expected '}'"),
    (r"\Z", "left over", 34, "expected the end of the file"),
]


@pytest.mark.parametrize(("pattern", "by", "line", "message"), WRONG)
def test_wrong_files(
    pattern: str, by: str, line: int, message: str, text: str, tmp_path: Path
) -> None:
    wrong, count = re.subn(pattern, lambda _: by, text, count=1, flags=re.MULTILINE)
    assert count == 1
    path = tmp_path / "wrong.mtp"
    path.write_text(wrong)
    with pytest.raises(FormatError, match=re.escape(message)) as caught:
        read_mtp(path, SPECIES)
    assert caught.value.line == line
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("species", "message"),
    [
        (("Al",), "it has 2 species, but 1 were named"),
        (("Al", "Ni", "Cu"), "it has 2 species, but 3 were named"),
        ((), "it has 2 species, but 0 were named"),
        (("Al", "Al"), "names an element twice"),
        (("Al", "Xx"), "'Xx' is not a chemical symbol"),
        (("Al", "X"), "'X' is not a chemical symbol"),
    ],
)
def test_wrong_species(species: tuple[str, ...], message: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read_mtp(tmp_path / "whole.mtp", species)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read_mtp(tmp_path / "absent.mtp", SPECIES)
    with pytest.raises(FormatError, match="cannot be read"):
        read_mtp(tmp_path, SPECIES)
    (tmp_path / "binary.mtp").write_bytes(b"MTP\n\xff\xfe")
    with pytest.raises(FormatError, match="not text"):
        read_mtp(tmp_path / "binary.mtp", SPECIES)
    (tmp_path / "empty.mtp").write_text("")
    with pytest.raises(FormatError, match="line 1: found the end, expected 'MTP'"):
        read_mtp(tmp_path / "empty.mtp", SPECIES)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "p.mtp"
    path.write_text("mine")
    with pytest.raises(FolderError, match="exists already; remove it"):
        write_mtp(path, potential())
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_not_finite_is_not_written(tmp_path: Path) -> None:
    model = dataclasses.replace(potential(), species_coeffs=np.array([np.nan, 1.0]))
    with pytest.raises(FormatError, match="species_coeffs that are not finite"):
        write_mtp(tmp_path / "p.mtp", model)
    assert list(tmp_path.iterdir()) == []
