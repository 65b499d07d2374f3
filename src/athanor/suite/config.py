"""The suite file: which properties are measured, with tolerances and what is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from athanor.campaign.sections import (
    CampaignSection,
    check_sections,
    properties_of,
    read_tables,
    table_of,
)
from athanor.component import choose
from athanor.errors import ConfigError
from athanor.oracle import OracleConfig
from athanor.suite.subjects import Subject
from athanor.validate import PropertyConfig

SECTIONS = ("suite", "oracle", "property")


@dataclass(frozen=True)
class SuiteConfig:
    """What is measured, and on what.

    Attributes
    ----------
    campaign : [suite]: name, seed and workers.
    properties : the sections [[property]] in their order.
    oracle : the reference that the file names in [oracle], if any.
    subjects : what is measured; one of them may be the reference.
    """

    campaign: CampaignSection
    properties: tuple[PropertyConfig, ...]
    oracle: OracleConfig | None = None
    subjects: tuple[Subject, ...] = ()
    source: str = field(default="", compare=False)

    @classmethod
    def read(cls, path: str | Path) -> SuiteConfig:
        """Read a suite file; FormatError when not TOML, ConfigError when a key is wrong."""
        tables, text = read_tables(Path(path))
        return cls.of(tables, where=str(path), source=text)

    @classmethod
    def of(
        cls, tables: Mapping[str, Any], *, where: str = "suite", source: str = ""
    ) -> SuiteConfig:
        """Build from the tables of a suite file; ConfigError in one sentence."""
        check_sections(tables, SECTIONS, where, told="the sections of a suite are")
        properties = properties_of(tables, "property", where)
        if not properties:
            raise ConfigError(f"{where}: there is no section [[property]]; add what to measure")
        oracle = None
        if "oracle" in tables:
            table = table_of(tables, "oracle", where)
            oracle = choose("athanor.oracle", OracleConfig, table, where=f"{where}: [oracle]")
        section = table_of(tables, "suite", where) if "suite" in tables else {}
        return cls(
            campaign=CampaignSection.parse({"name": "suite", **section}, where=f"{where}: [suite]"),
            properties=properties,
            oracle=oracle,
            source=source,
        )

    def on(self, *subjects: Subject) -> SuiteConfig:
        """The same suite on these subjects; ConfigError where two have one name."""
        names = [one.name for one in subjects]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(
                f"two of what is to be measured are called {twice!r}; "
                "name them apart: first=PATH second=PATH"
            )
        return replace(self, subjects=subjects)

    @property
    def reference(self) -> Subject | None:
        """What the others are compared with."""
        return next((one for one in self.subjects if one.is_reference), None)

    def as_dict(self) -> dict[str, Any]:
        """Every section with every default written out, as plain JSON data."""
        return {
            "suite": self.campaign.model_dump(mode="json"),
            "subjects": [one.as_dict() for one in self.subjects],
            "property": [one.model_dump(mode="json") for one in self.properties],
        }
