"""A missing extra is named, with the line that brings it."""

from __future__ import annotations

import sys

import pytest

from athanor.component import require_libraries
from athanor.errors import MissingExtraError
from athanor.potentials import kinds


def test_a_recipe_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {kind: dict(recipe.needs) for kind, recipe in kinds().items() if recipe.needs}
    assert needs["gap"] == {"quippy": "gap"}
    assert {"ani", "hipnn"} <= needs.keys()
    for kind, libraries in needs.items():
        for library, extra in libraries.items():
            with monkeypatch.context() as patch:
                patch.setitem(sys.modules, library, None)
                with pytest.raises(MissingExtraError, match=rf"athanor\[{extra}\]"):
                    kinds()[kind]().check()


def test_a_library_that_is_not_installed() -> None:
    require_libraries({"numpy": "nothing"})
    with pytest.raises(MissingExtraError, match=r"pip install 'athanor\[gold\]'"):
        require_libraries({"numpy": "nothing", "no_such_library_of_athanor": "gold"})
