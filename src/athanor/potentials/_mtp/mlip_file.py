"""MLIP's `.mtp` files, version 1.1.0: a moment tensor potential with its own index tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from athanor.data.durable import write_file
from athanor.data.species import check_species
from athanor.data.text import decoded, read_bytes
from athanor.errors import ConfigError, FolderError, FormatError
from athanor.potentials._mtp.mlip_text import PAIR, MlipText, potential_part
from athanor.potentials._mtp.model import IndexTables, IntArray, MtpModel
from athanor.structure import FloatArray

LARGEST_RANK = 64
"""More than any published basis has (10); beyond it a table of powers would only eat memory."""


def read_mtp(path: str | Path, species: Sequence[str]) -> MtpModel:
    """Read an MLIP 1.1.0 potential; white space is free, all the rest is checked.

    Radial functions that no basic moment uses have no influence and are left out, and so is an
    active-learning state behind the potential (see mlip_state).

    Parameters
    ----------
    path : the file.
    species : chemical symbols by species index.

    Raises
    ------
    FormatError : with the line, what was found and what was expected; also for a file without
        coefficients.
    ConfigError : `species` are not as many as the file has, not different, or not elements.
    """
    path = Path(path)
    names = check_species(species, where=str(path))
    content = potential_part(read_bytes(path))
    text = MlipText(path, decoded(path, content, expected="an MLIP potential"))
    name, scaling = _head(text, names)
    min_dist, max_dist = _interval(text)
    radial = _radial(text, len(names))
    tables = _tables(text, n_radial=radial.shape[2])
    species_coeffs, moment_coeffs = _linear(text, len(names), len(tables.mapping))
    return MtpModel(
        species=names,
        tables=tables,
        min_dist=min_dist,
        max_dist=max_dist,
        scaling=scaling,
        radial=np.ascontiguousarray(radial[:, :, : tables.n_radial]),
        species_coeffs=species_coeffs,
        moment_coeffs=moment_coeffs,
        name=name,
    )


def _head(text: MlipText, names: tuple[str, ...]) -> tuple[str, float]:
    """The lines before the radial basis: the name and the scaling."""
    text.word("MTP", context=", the first word of an MLIP potential")
    text.key("version")
    text.word("1.1.0")
    name = ""
    if text.next_word() == "potential_name":
        text.key("potential_name")
        name = text.rest_of_line()
    scaling = _scaling(text)
    _species_count(text, names)
    if text.next_word() == "potential_tag":
        text.key("potential_tag")
        text.rest_of_line()
    text.key("radial_basis_type")
    text.word("RBChebyshev", context=" (the only radial basis that is supported)")
    return name, scaling


def _scaling(text: MlipText) -> float:
    if text.next_word() != "scaling":
        return 1.0
    text.key("scaling")
    value = text.real("the scaling")
    if value == 0.0:
        text.fail("found scaling 0, expected another number: with 0 every energy is constant")
    return value


def _species_count(text: MlipText, names: tuple[str, ...]) -> None:
    text.key("species_count")
    count = text.integer("the number of species", low=1)
    if count != len(names):
        raise ConfigError(
            f"{text.path}: it has {count} species, but {len(names)} were named "
            f"({', '.join(names) or 'none'}); name all in the order of the file's indices"
        )


def _interval(text: MlipText) -> tuple[float, float]:
    text.key("min_dist")
    low = text.real("min_dist")
    if low <= 0:
        text.fail(f"found min_dist {low:g}, expected a positive distance in Å")
    text.key("max_dist")
    high = text.real("max_dist")
    if high <= low:
        text.fail(f"found max_dist {high:g}, expected more than min_dist, {low:g} Å")
    return low, high


def _radial(text: MlipText, n_species: int) -> FloatArray:
    """(n_species, n_species, radial_funcs_count, radial_basis_size), central species first."""
    text.key("radial_basis_size")
    size = text.integer("radial_basis_size", low=1)
    text.key("radial_funcs_count")
    count = text.integer("radial_funcs_count", low=1)
    if text.next_word() == "alpha_moments_count":
        text.fail("found no radial_coeffs: the potential has no coefficients yet; fit it first")
    text.word("radial_coeffs")
    pairs: dict[tuple[int, int], list[list[float]]] = {}
    while len(pairs) < n_species**2:
        match = text.take(PAIR, f"a pair of species ({len(pairs)} of {n_species**2} pairs found)")
        pair = (int(match.group(1)), int(match.group(2)))
        if max(pair) >= n_species:
            text.fail(
                f"found pair {pair[0]}-{pair[1]}, expected indices from 0 to {n_species - 1}",
                at=match.start(),
            )
        if pair in pairs:
            text.fail(f"found pair {pair[0]}-{pair[1]} twice, expected it once", at=match.start())
        rows: list[list[float]] = []
        while len(rows) < count:  # each turn reads a row or raises: bounded by the file
            rows.append(text.reals(size, f"row {len(rows)} of pair {pair[0]}-{pair[1]}"))
        pairs[pair] = rows
    order = [[pairs[i, j] for j in range(n_species)] for i in range(n_species)]
    return np.array(order, dtype=np.float64)


def _tables(text: MlipText, *, n_radial: int) -> IndexTables:
    text.key("alpha_moments_count")
    n_moments = text.integer("alpha_moments_count", low=1)
    place = text.place
    text.key("alpha_index_basic_count")
    n_basic = text.integer("alpha_index_basic_count", low=1)
    text.key("alpha_index_basic")
    basic, places = text.table("alpha_index_basic", rows=n_basic)
    _check_basic(text, basic, places, n_radial=n_radial)
    text.key("alpha_index_times_count")
    n_times = text.integer("alpha_index_times_count", low=0)
    text.key("alpha_index_times")
    times, places = text.table("alpha_index_times", rows=n_times)
    if not n_basic <= n_moments <= n_basic + n_times:
        text.fail(
            f"found alpha_moments_count {n_moments}, expected from {n_basic} (the basic moments) "
            f"to {n_basic + n_times} (and one per product)",
            at=place,
        )
    _check_times(text, times, places, n_basic=n_basic, n_moments=n_moments)
    mapping = _mapping(text, n_moments=n_moments)
    return IndexTables(basic=basic, times=times, mapping=mapping, n_moments=n_moments)


def _check_basic(text: MlipText, basic: IntArray, places: list[int], *, n_radial: int) -> None:
    mu, powers = basic[:, 0], basic[:, 1:].astype(np.int64)
    wrong = (mu < 0) | (mu >= n_radial)
    if wrong.any():
        row = int(wrong.argmax())
        text.fail(
            f"found radial function {mu[row]} in row {row} of alpha_index_basic, "
            f"expected from 0 to {n_radial - 1}",
            at=places[row],
        )
    wrong = (powers.min(axis=1) < 0) | (powers.sum(axis=1) > LARGEST_RANK)
    if wrong.any():
        row = int(wrong.argmax())
        text.fail(
            f"found powers {powers[row].tolist()} in row {row} of alpha_index_basic, "
            f"expected none negative and a sum of at most {LARGEST_RANK}",
            at=places[row],
        )


def _check_times(
    text: MlipText, times: IntArray, places: list[int], *, n_basic: int, n_moments: int
) -> None:
    """Rows in range, every product made, and each factor complete before it is used."""
    first, second, product = times[:, 0], times[:, 1], times[:, 3]
    low, high = np.minimum(first, second), np.maximum(first, second)
    wrong = (low < 0) | (high >= n_moments) | (product < n_basic) | (product >= n_moments)
    if wrong.any():
        row = int(wrong.argmax())
        text.fail(
            f"found {times[row].tolist()} in row {row} of alpha_index_times, expected factors from "
            f"0 to {n_moments - 1} and a product from {n_basic} to {n_moments - 1}",
            at=places[row],
        )
    rows = np.arange(len(times), dtype=np.int32)
    last = np.full(n_moments, -1, dtype=np.int32)
    np.maximum.at(last, product, rows)
    unmade = np.flatnonzero(last[n_basic:] < 0) + n_basic
    if len(unmade):
        text.fail(
            f"found no row that makes moment {unmade[0]}, expected one in alpha_index_times",
            at=places[0],
        )
    early = np.maximum(last[first], last[second]) >= rows
    if early.any():
        row = int(early.argmax())
        text.fail(
            f"found {times[row].tolist()} in row {row} of alpha_index_times, expected factors "
            "that the rows before it have completed",
            at=places[row],
        )


def _mapping(text: MlipText, *, n_moments: int) -> IntArray:
    text.key("alpha_scalar_moments")
    count = text.integer("alpha_scalar_moments", low=1)
    text.key("alpha_moment_mapping")
    text.skip()
    begin = text.place
    row = np.array(text.integers("alpha_moment_mapping"), dtype=np.int32)
    if len(row) != count:
        text.fail(f"found {len(row)} moments, expected {count} in alpha_moment_mapping", at=begin)
    if row.min() < 0 or row.max() >= n_moments:
        wrong = int(row[(row < 0) | (row >= n_moments)][0])
        text.fail(
            f"found moment {wrong} in alpha_moment_mapping, expected from 0 to {n_moments - 1}",
            at=begin,
        )
    return row


def _linear(text: MlipText, n_species: int, n_scalars: int) -> tuple[FloatArray, FloatArray]:
    if text.next_word() == "":
        text.fail(
            "found the end, expected species_coeffs: the file is cut short or was never fitted"
        )
    text.key("species_coeffs")
    species_coeffs = text.reals(n_species, "species_coeffs")
    text.key("moment_coeffs")
    moment_coeffs = text.reals(n_scalars, "moment_coeffs")
    if text.next_word() != "":
        text.expected("the end of the file after moment_coeffs")
    return np.array(species_coeffs), np.array(moment_coeffs)


def write_mtp(path: str | Path, model: MtpModel) -> None:
    """Write an MLIP 1.1.0 potential with 17 significant digits: reading it gives equal bits.

    The name becomes one word (blanks turn into underscores), as MLIP needs it.

    Raises
    ------
    FolderError : the file exists already, or cannot be written.
    FormatError : a coefficient is not finite.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise FolderError(f"{path} exists already; remove it or give another name")
    for name in ("radial", "species_coeffs", "moment_coeffs"):
        if not np.isfinite(getattr(model, name)).all():
            raise FormatError(path, None, f"found {name} that are not finite, nothing was written")
    write_file(path, "\n".join(_lines(model)).encode())


def _lines(model: MtpModel) -> list[str]:
    tables = model.tables
    n_species, _, n_radial, n_chebyshev = model.radial.shape
    lines = ["MTP", "version = 1.1.0"]
    if model.name.strip():
        lines.append(f"potential_name = {'_'.join(model.name.split())}")
    lines += [
        f"scaling = {model.scaling:.16e}",
        f"species_count = {n_species}",
        "potential_tag = ",
        "radial_basis_type = RBChebyshev",
        f"\tmin_dist = {model.min_dist:.16e}",
        f"\tmax_dist = {model.max_dist:.16e}",
        f"\tradial_basis_size = {n_chebyshev}",
        f"\tradial_funcs_count = {n_radial}",
        "\tradial_coeffs",
    ]
    for i in range(n_species):
        for j in range(n_species):
            lines.append(f"\t\t{i}-{j}")
            lines += [f"\t\t\t{_reals(row)}" for row in model.radial[i, j]]
    return [
        *lines,
        f"alpha_moments_count = {tables.n_moments}",
        f"alpha_index_basic_count = {len(tables.basic)}",
        f"alpha_index_basic = {_table(tables.basic)}",
        f"alpha_index_times_count = {len(tables.times)}",
        f"alpha_index_times = {_table(tables.times)}",
        f"alpha_scalar_moments = {len(tables.mapping)}",
        f"alpha_moment_mapping = {_integers(tables.mapping)}",
        f"species_coeffs = {_reals(model.species_coeffs)}",
        f"moment_coeffs = {_reals(model.moment_coeffs)}",
        "",
    ]


def _reals(row: FloatArray) -> str:
    return "{" + ", ".join(f"{value:.16e}" for value in row.tolist()) + "}"


def _integers(row: IntArray) -> str:
    return "{" + ", ".join(map(str, row.tolist())) + "}"


def _table(table: IntArray) -> str:
    return "{" + ", ".join(map(_integers, table)) + "}"
