"""Components: found by scanning, chosen by kind, refused in one sentence."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, model_validator

from athanor import component
from athanor.component import Component, choose, discover, kind_of, nearest
from athanor.errors import ConfigError


class Inner(BaseModel):
    model_config = {"extra": "forbid"}
    width: float = 1.0


class Example(Component):
    kind: Literal["example"] = "example"
    size: int = Field(default=3, ge=1)
    name: str
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _even(self) -> Example:
        if self.name == "odd" and self.size % 2 == 0:
            raise ValueError("an odd example needs an odd size; give 1 or 3")
        return self


def test_a_right_table_is_read() -> None:
    example = Example.parse({"name": "a", "size": 5, "inner": {"width": 2}}, where="here")
    assert (example.name, example.size, example.inner.width) == ("a", 5, 2.0)
    assert kind_of(Example) == "example"
    assert kind_of(Component) is None


def test_a_component_is_immutable() -> None:
    with pytest.raises(ValidationError):
        Example(name="a").size = 4


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            {"name": "a", "sise": 4},
            "[x]: unknown key 'sise' (did you mean 'size'?); allowed are kind, size, name, inner",
        ),
        ({"name": "a", "qqq": 4}, "[x]: unknown key 'qqq'; allowed are kind, size, name, inner"),
        (
            {"name": "a", "inner": {"widht": 1}},
            "[x]: unknown key 'inner.widht' (did you mean 'width'?); allowed are width",
        ),
        ({}, "[x]: the key 'name' is missing"),
        (
            {"name": "a", "size": 0},
            "[x]: size = 0 is not allowed: Input should be greater than or equal to 1",
        ),
        (
            {"name": "odd", "size": 2},
            "[x]: section: an odd example needs an odd size; give 1 or 3",
        ),
        (
            {"size": 0},
            "[x]: size = 0 is not allowed: Input should be greater than or equal to 1 (and 1 more)",
        ),
    ],
)
def test_a_wrong_table_gives_one_sentence(table: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Example.parse(table, where="[x]")
    assert str(caught.value) == sentence
    assert caught.value.__cause__ is None


def test_no_number_may_be_nan_or_infinite() -> None:
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="width"):
            WithFloat.parse({"width": bad}, where="x")


class WithFloat(Component):
    width: float


def test_nearest_is_silent_when_nothing_is_near() -> None:
    assert nearest("cutof", ["cutoff", "size"]) == " (did you mean 'cutoff'?)"
    assert nearest("zzz", ["cutoff", "size"]) == ""
    assert nearest("zzz", []) == ""


PACKAGE = '''
"""A family."""
from athanor.component import Component
class Base(Component):
    """No kind: not found."""
'''
MODULE = """
from typing import Literal
from family_of_tests import Base
class {name}(Base):
    kind: Literal["{kind}"] = "{kind}"
    size: int = 1
"""


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Component]:
    """A package with two public modules and a private one, importable for this test alone."""
    folder = tmp_path / "family_of_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text(PACKAGE)
    (folder / "red.py").write_text(MODULE.format(name="Red", kind="red"))
    (folder / "blue.py").write_text(MODULE.format(name="Blue", kind="blue"))
    (folder / "_hidden.py").write_text(MODULE.format(name="Hidden", kind="hidden"))
    monkeypatch.syspath_prepend(tmp_path)
    import family_of_tests

    yield family_of_tests.Base
    for name in [name for name in sys.modules if name.startswith("family_of_tests")]:
        del sys.modules[name]


def test_kinds_are_found_by_scanning(family: type[Component]) -> None:
    assert list(discover("family_of_tests", family)) == ["blue", "red"]


def test_kinds_are_found_among_entry_points(
    family: type[Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [
        EntryPoint("green", "family_of_tests._hidden:Hidden", "family_of_tests"),
        EntryPoint("path", "pathlib:Path", "family_of_tests"),
    ]
    monkeypatch.setattr(component, "entry_points", lambda group: points)
    assert list(discover("family_of_tests", family)) == ["blue", "hidden", "red"]


def test_a_plug_in_that_cannot_be_loaded_is_named(
    family: type[Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("broken", "family_of_tests.absent:Thing", "family_of_tests")
    monkeypatch.setattr(component, "entry_points", lambda group: [point])
    with pytest.raises(ConfigError, match=r"plug-in family_of_tests\.absent:Thing .*uninstall it"):
        discover("family_of_tests", family)


def test_two_kinds_of_one_name_are_refused(family: type[Component], tmp_path: Path) -> None:
    text = MODULE.format(name="Other", kind="red")
    (tmp_path / "family_of_tests" / "zinc.py").write_text(text)
    with pytest.raises(ConfigError, match=r"zinc and family_of_tests\.red both have a kind 'red'"):
        discover("family_of_tests", family)


def test_a_kind_is_chosen_by_name(family: type[Component]) -> None:
    chosen = choose("family_of_tests", family, {"kind": "red", "size": 7}, where="[paint]")
    assert type(chosen).__name__ == "Red"
    assert chosen.size == 7


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({}, "[paint]: give kind = one of blue, red"),
        ({"kind": 3}, "[paint]: give kind = one of blue, red"),
        (
            {"kind": "blu"},
            "[paint]: there is no kind 'blu' (did you mean 'blue'?); the kinds are blue, red",
        ),
        ({"kind": "hidden"}, "[paint]: there is no kind 'hidden'; the kinds are blue, red"),
        (
            {"kind": "red", "sizes": 1},
            "[paint]: unknown key 'sizes' (did you mean 'size'?); allowed are kind, size",
        ),
    ],
)
def test_a_wrong_choice_gives_one_sentence(
    family: type[Component], table: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        choose("family_of_tests", family, table, where="[paint]")
    assert str(caught.value) == sentence


def test_an_unknown_key_inside_a_list_names_the_keys_there() -> None:
    class Run(Component):
        temperature: float = 1.0

    class Outer(Component):
        runs: tuple[Run, ...] = ()

    with pytest.raises(ConfigError, match=r"'runs\.0\.temperatur' \(did you mean 'temperature'"):
        Outer.parse({"runs": [{"temperatur": 2.0}]}, where="here")
