"""Saved ANI potentials that were altered, and headers with numbers too large to compute with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ani_cases import random_model, spec_of
from seal_cases import resealed

import athanor
from athanor.errors import FormatError
from athanor.potentials._ani.files import read_model, write_model
from athanor.potentials.ani import AniPotential

HEADER, WEIGHTS = "potential.json", "weights.safetensors"
HUGE = 10**400
"""More than a float can hold, and an integer in JSON."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(12)
    model = random_model(rng, spec_of(("Al", "Ni")), n_members=2)
    AniPotential(model).save(tmp_path / "saved")
    return tmp_path / "saved"


def edited(folder: Path, table: str | None, key: str, value: Any) -> None:
    header = json.loads((folder / HEADER).read_text())
    (header[table] if table else header)[key] = value
    (folder / HEADER).write_text(json.dumps(header))


def refused(folder: Path, name: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        athanor.load(folder)
    assert caught.value.path == folder / name
    assert len(str(caught.value)) < 400


def test_any_flipped_bit_of_the_weights_is_noticed(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    places = [len(whole) - 40, *np.random.default_rng(3).integers(len(whole), size=30).tolist()]
    for at in places:
        bad = bytearray(whole)
        bad[at] ^= 1 << (at % 8)
        (folder / WEIGHTS).write_bytes(bytes(bad))
        refused(folder, WEIGHTS, "not the weights that its header promises; copy the folder again")
    (folder / WEIGHTS).write_bytes(whole)
    athanor.load(folder)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        (None, "scale", 3.25),
        (None, "precision", "float64"),
        (None, "weights_sha256", "0" * 64),
        (None, "header_sha256", None),
        (None, "comment", "mine"),
        ("aev", "radial_cutoff", 5.0),
        ("aev", "eta_r", 3.0),
    ],
)
def test_a_header_that_could_be_but_is_not_the_one_written(
    table: str | None, key: str, value: Any, folder: Path
) -> None:
    edited(folder, table, key, value)
    refused(folder, HEADER, "not as it was written")


def test_a_header_deep_beyond_reason(folder: Path) -> None:
    """Deep enough for the digest to give up, whether or not the JSON reader does before."""
    text = (folder / HEADER).read_text()
    for depth in (500, 980, 990, 20_000):
        nested = "[" * depth + "]" * depth
        (folder / HEADER).write_text(text.replace("{", '{"deep": ' + nested + ", ", 1))
        refused(folder, HEADER, "not as it was written|not the header")


def test_the_device_is_the_readers_own_business(folder: Path) -> None:
    edited(folder, None, "device", "auto")
    loaded = athanor.load(folder)
    assert isinstance(loaded, AniPotential)
    assert loaded.device == "auto"


def test_writing_again_gives_the_same_bits(folder: Path, tmp_path: Path) -> None:
    model, precision, device = read_model(folder)
    (tmp_path / "again").mkdir()
    write_model(tmp_path / "again", model, precision=precision, device=device)
    for name in (HEADER, WEIGHTS):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        (None, "scale", HUGE, r"scale is 10{59}\.\.\., expected 1e-12 to 1e\+12 eV"),
        (None, "scale", 1e308, r"scale is 1e\+308"),
        (None, "scale", 1e-13, "scale is 1e-13"),
        (None, "scale", np.inf, "scale is inf"),
        (None, "n_members", HUGE, "n_members is 1000"),
        (None, "version", HUGE, "version is 1000"),
        (None, "celu_alpha", HUGE, "celu_alpha is 1000"),
        ("aev", "radial_cutoff", HUGE, "aev.radial_cutoff is 1000.*expected a finite number"),
        ("aev", "zeta", np.inf, "aev.zeta is inf, expected a finite number"),
        ("aev", "eta_a", -HUGE, "aev.eta_a is -1000"),
        ("aev", "shf_r", [1.0, HUGE], "aev.shf_r is .*expected a list of finite numbers"),
        ("aev", "shf_z", [np.nan], r"aev.shf_z is \[nan\]"),
        ("layers", "Al", [HUGE, 1], "layers of Al are"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_numbers_too_large_to_compute_with(
    table: str | None, key: str, value: Any, message: str, folder: Path
) -> None:
    edited(folder, table, key, value)
    refused(folder, HEADER, message)
    resealed(folder / HEADER)
    refused(folder, HEADER, message)
