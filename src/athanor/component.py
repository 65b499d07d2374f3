"""Components: what a file names by `kind`, found by scanning packages, checked by pydantic."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from athanor.errors import ConfigError, MissingExtraError

T = TypeVar("T", bound="Component")

PACKAGES = {"freud": "freud-analysis", "sklearn": "scikit-learn"}
"""What a library is called where it is installed from, if that is another name."""


class Component(BaseModel):
    """A recipe: immutable, its fields are the keys of its section, unknown keys are refused.

    A subclass that can be chosen in a file has a field `kind: Literal["name"] = "name"`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, table: Mapping[str, Any], *, where: str) -> Self:
        """Build from a section of a file; ConfigError names the nearest right key."""
        try:
            return cls.model_validate(dict(table))
        except ValidationError as error:
            raise ConfigError(_sentence(cls, error, where)) from None


def kind_of(component: type[Component]) -> str | None:
    """Return the `kind` a component is chosen by, None for a base class."""
    field = component.model_fields.get("kind")
    return None if field is None else str(field.default)


def discover(package: str, base: type[T]) -> dict[str, type[T]]:
    """Return kind -> class for every `base` in the modules of `package` and in its entry points.

    Private modules (leading underscore) are not scanned. Third parties register the entry point
    group named as the package, e.g. `athanor.potentials`.

    Raises ConfigError for an entry point that cannot be loaded, and for a kind that is there twice.
    """
    root = importlib.import_module(package)
    modules = [
        importlib.import_module(f"{package}.{module.name}")
        for module in pkgutil.iter_modules(root.__path__)
        if not module.name.startswith("_")
    ]
    found = [
        thing for module in modules for thing in vars(module).values() if _is_kind(thing, base)
    ]
    found += [thing for thing in map(_loaded, entry_points(group=package)) if _is_kind(thing, base)]
    kinds: dict[str, type[T]] = {}
    for cls in found:
        kind = str(kind_of(cls))
        if kinds.setdefault(kind, cls) is not cls:
            raise ConfigError(
                f"{package}: {cls.__module__} and {kinds[kind].__module__} both have a kind "
                f"{kind!r}; uninstall one of them"
            )
    return dict(sorted(kinds.items()))


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        # a plug-in is anybody's code, and its import may fail in any way
        raise ConfigError(
            f"the plug-in {point.value} ({point.group}) cannot be loaded "
            f"({type(error).__name__}: {error}); mend or uninstall it"
        ) from error


def _is_kind(thing: object, base: type[Component]) -> bool:
    return isinstance(thing, type) and issubclass(thing, base) and kind_of(thing) is not None


def choose(package: str, base: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """Build the component that `table["kind"]` names; ConfigError lists the kinds there are."""
    kinds = discover(package, base)
    kind = table.get("kind")
    if not isinstance(kind, str):
        raise ConfigError(f"{where}: give kind = one of {', '.join(kinds)}")
    if kind not in kinds:
        raise ConfigError(
            f"{where}: there is no kind {kind!r}{nearest(kind, kinds)}; "
            f"the kinds are {', '.join(kinds)}"
        )
    return kinds[kind].parse(table, where=where)


def require_libraries(needs: Mapping[str, str]) -> None:
    """Raise MissingExtraError for the first library (-> its extra) not there; imports nothing."""
    for library, extra in needs.items():
        if library in sys.modules:
            present = sys.modules[library] is not None
        else:
            present = importlib.util.find_spec(library) is not None
        if not present:
            raise MissingExtraError(PACKAGES.get(library, library), extra)


def nearest(word: str, words: Iterable[str]) -> str:
    """Return ', did you mean X?' when one of `words` resembles `word`, else nothing."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _sentence(cls: type[BaseModel], error: ValidationError, where: str) -> str:
    """Turn the first pydantic error into one sentence of ours, and count the others."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path) or "section"
    if first["type"] == "extra_forbidden":
        names = _fields_at(cls, path[:-1])
        hint = nearest(path[-1], names)
        text = f"{where}: unknown key {key!r}{hint}; allowed are {', '.join(names)}"
    elif first["type"] == "missing":
        text = f"{where}: the key {key!r} is missing"
    elif first["type"] == "value_error":
        text = f"{where}: {key}: {first['ctx']['error']}"
    else:
        text = f"{where}: {key} = {first['input']!r} is not allowed: {first['msg']}"
    more = error.error_count() - 1
    return text + (f" (and {more} more)" if more else "")


def _fields_at(cls: type[BaseModel], path: list[str]) -> list[str]:
    """Names of the fields of the (possibly nested) model at `path`."""
    for part in path:
        if part.isdecimal():  # an index into the list that was named before
            continue
        inner = _model_in(getattr(cls.model_fields.get(part), "annotation", None))
        if inner is None:
            break
        cls = inner
    return list(cls.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is, or holds: `tuple[Run, ...]` holds Run."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
