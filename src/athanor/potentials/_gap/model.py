"""What a fitted GAP is: the text that QUIP reads, and what must be known without reading it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.parsers import expat

_LABEL = re.compile(r"GAP_\d{4}(?:_\d+)+")
"""The label that gap_fit makes of date, time and a random number."""


@dataclass(frozen=True, slots=True)
class GapModel:
    """A GAP as text.

    Attributes
    ----------
    species : chemical symbols, sorted.
    cutoff : Å, the larger of the pair term's and SOAP's.
    xml : QUIP's parameter file, sparse points included.
    """

    species: tuple[str, ...]
    cutoff: float
    xml: str


def relabelled(xml: str, name: str) -> str:
    """The same potential with a label that does not depend on when it was fitted."""
    found = _LABEL.search(xml)
    return xml if found is None else xml.replace(found.group(), f"GAP_{name}")


def complaint(xml: str) -> str:
    """Why a text is not whole; else nothing. QUIP ends the process where it is not."""
    try:
        expat.ParserCreate().Parse(xml, True)
    except (expat.ExpatError, ValueError) as error:
        return str(error)
    return "" if re.match(r"\s*<GAP_\w+>", xml) else "it does not begin with a GAP"
