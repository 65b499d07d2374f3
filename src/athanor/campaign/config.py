"""A campaign file: one TOML file that says which potential, query, starts, sampler and oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from athanor.campaign.sections import (
    CampaignSection,
    check_sections,
    properties_of,
    read_tables,
    table_of,
)
from athanor.component import Component, choose
from athanor.errors import ConfigError
from athanor.oracle import OracleConfig
from athanor.potentials import PotentialConfig
from athanor.query import QueryConfig
from athanor.sample import SamplerConfig, StartConfig
from athanor.validate import PropertyConfig

CHOSEN: tuple[tuple[str, str, type[Component]], ...] = (
    ("potential", "athanor.potentials", PotentialConfig),
    ("query", "athanor.query", QueryConfig),
    ("start", "athanor.sample", StartConfig),
    ("sample", "athanor.sample", SamplerConfig),
    ("oracle", "athanor.oracle", OracleConfig),
)
"""Section, package and contract of what a campaign chooses by `kind`."""

SECTIONS = ("campaign", *(name for name, _, _ in CHOSEN), "validate", "cycle", "stop")

CHANGEABLE = ("campaign.name", "campaign.workers", "stop", "validate")
"""What may differ when a campaign goes on; anything else would make another campaign of it."""


class CycleSection(Component):
    """[cycle]: structures labelled first, then trajectories and labels per turn."""

    initial: int = Field(ge=1)
    trajectories: int = Field(ge=1)
    labels: int = Field(ge=1)
    valid_fraction: float = Field(default=0.1, ge=0, lt=1)


class StopSection(Component):
    """[stop]: when to end; the first rule that holds ends the campaign.

    A trajectory is untriggered when it ran its full schedule and nothing halted it; with
    `trigger = "save"` it must not even have left a candidate that has no label yet.
    """

    untriggered_cycles: int | None = Field(default=None, ge=1)
    max_cycles: int | None = Field(default=None, ge=0)
    max_labels: int | None = Field(default=None, ge=1)
    max_hours: float | None = Field(default=None, gt=0)
    trigger: Literal["halt", "save"] = "halt"

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.max_cycles is None and self.max_labels is None and self.max_hours is None:
            raise ValueError(
                "give at least one of max_cycles, max_labels, max_hours, or it may never end"
            )
        return self


@dataclass(frozen=True)
class CampaignConfig:
    """Everything a campaign is made from; pickles, compares by value.

    Raises
    ------
    ConfigError : the query needs what the potential does not provide.
    """

    campaign: CampaignSection
    potential: PotentialConfig
    query: QueryConfig
    start: StartConfig
    sample: SamplerConfig
    oracle: OracleConfig
    cycle: CycleSection
    stop: StopSection
    validate: tuple[PropertyConfig, ...] = ()
    source: str = field(default="", compare=False)
    """The text of the file it was read from."""

    def __post_init__(self) -> None:
        lacking = sorted(self.query.requires - self.potential.offers)
        if lacking:
            provided = ", ".join(sorted(self.potential.offers)) or "nothing beyond predictions"
            raise ConfigError(
                f"[query] {_kind(self.query)} needs {', '.join(lacking)}, but [potential] "
                f"{_kind(self.potential)} provides {provided}; choose another query or potential"
            )

    @classmethod
    def read(cls, path: str | Path) -> CampaignConfig:
        """Read a campaign file; FormatError when not TOML, ConfigError when a key is wrong."""
        tables, text = read_tables(Path(path))
        return cls.of(tables, where=str(path), source=text)

    @classmethod
    def of(
        cls, tables: Mapping[str, Any], *, where: str = "campaign", source: str = ""
    ) -> CampaignConfig:
        """Build from the tables of a campaign file; ConfigError in one sentence."""
        check_sections(tables, SECTIONS, where)
        chosen: dict[str, Any] = {
            name: choose(package, base, table_of(tables, name, where), where=f"{where}: [{name}]")
            for name, package, base in CHOSEN
        }
        properties = properties_of(tables, "validate", where)
        simple: dict[str, Any] = {
            name: kind.parse(table_of(tables, name, where), where=f"{where}: [{name}]")
            for name, kind in (
                ("campaign", CampaignSection),
                ("cycle", CycleSection),
                ("stop", StopSection),
            )
        }
        try:
            return cls(**simple, **chosen, validate=properties, source=source)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def as_dict(self) -> dict[str, Any]:
        """Every section with every default written out, as plain JSON data."""
        sections = {
            name: getattr(self, name).model_dump(mode="json")
            for name in SECTIONS
            if name != "validate"
        }
        return {**sections, "validate": [item.model_dump(mode="json") for item in self.validate]}


def _kind(component: Component) -> str:
    return f"kind = {getattr(component, 'kind', type(component).__name__)!r}"
