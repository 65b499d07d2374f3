"""`athanor kinds`: what can be chosen in a campaign file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from athanor.cli.files import JsonOption
from athanor.component import Component


def families() -> dict[str, Mapping[str, type[Component]]]:
    """Every family of components, as kind -> recipe class."""
    from athanor import oracle, pool, potentials, query, sample, validate

    return {
        "potential": potentials.kinds(),
        "query": query.kinds(),
        "pool": pool.kinds(),
        "start": sample.start_kinds(),
        "sampler": sample.sampler_kinds(),
        "oracle": oracle.kinds(),
        "property": validate.kinds(),
    }


def kinds(json_: JsonOption = False) -> None:
    """List every kind of potential, query, pool, start, sampler, oracle and property there is."""
    table = {
        family: {name: describe(recipe) for name, recipe in found.items()}
        for family, found in families().items()
    }
    if json_:
        print(json.dumps(table, indent=2, allow_nan=False))
        return
    _show(table)


def describe(recipe: type[Component]) -> dict[str, Any]:
    """Return the summary of a recipe and its keys with type, default and meaning, as plain JSON."""
    schema = recipe.model_json_schema()
    required = set(schema.get("required", ()))
    keys = {}
    for name, field in recipe.model_fields.items():
        if name == "kind":
            continue
        entry = schema["properties"].get(name, {})
        keys[name] = {
            "type": _type_name(field.annotation),
            "required": name in required,
            "default": entry.get("default"),
            "description": " ".join((field.description or "").split()),
        }
    return {"summary": _first_line(recipe), "keys": keys}


def _first_line(recipe: type[Component]) -> str:
    return (inspect.getdoc(recipe) or "").split("\n\n")[0].replace("\n", " ")


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _show(table: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for family, found in table.items():
        grid = Table(
            title=family, title_justify="left", title_style="bold", box=None, pad_edge=False
        )
        grid.add_column("kind", style="cyan", no_wrap=True)
        grid.add_column("what it is and its keys")
        for name, entry in found.items():
            keys = ", ".join(_key(key, value) for key, value in entry["keys"].items())
            grid.add_row(escape(name), f"{escape(entry['summary'])}\n[dim]{escape(keys)}[/dim]")
        console.print(grid)
        console.print()


def _key(name: str, value: dict[str, Any]) -> str:
    return name if value["required"] else f"{name} = {json.dumps(value['default'])}"
