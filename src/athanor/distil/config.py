"""The campaign file of a distillation: one with a section [pool]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from athanor.campaign.sections import CampaignSection, check_sections, read_tables, table_of
from athanor.component import Component, choose
from athanor.errors import ConfigError
from athanor.oracle import OracleConfig
from athanor.pool import PoolConfig
from athanor.potentials import PotentialConfig
from athanor.query import QueryConfig
from athanor.query.clustering import ClusteringConfig
from athanor.search.config import SearchConfig
from athanor.search.space import Point, SearchSpace, marked

SECTIONS = (
    "campaign",
    "pool",
    "oracle",
    "query",
    "potential",
    "search",
    "cycle",
    "stop",
    "compare",
)

CHANGEABLE = ("campaign.name", "campaign.workers", "stop", "compare")
"""What may differ when a distillation goes on; anything else would make another one of it."""

Arm = Literal["clusters", "soap", "farthest", "random", "everything"]


class SearchSection(SearchConfig):
    """[search]: how the marked fields of [potential] are searched, in the first cycle and later."""

    later_trials: int = Field(
        default=6, ge=1, description="of each further cycle, which begins from the best so far"
    )

    def of_cycle(self, number: int) -> SearchConfig:
        """The search of cycle 1, 2, ..."""
        written = self.model_dump(exclude={"later_trials"}, exclude_unset=True)
        trials = self.trials if number == 1 else self.later_trials
        written["trials"] = trials
        if number > 1 or "initial" not in self.model_fields_set:
            # or nothing would ever be inferred from results
            written["initial"] = max(1, min(self.initial, trials // 2))
        return SearchConfig(**written)


class CycleSection(Component):
    """[cycle]: what each turn adds, and how it is divided."""

    fraction: float = Field(
        default=0.05, gt=0, le=1, description="of each cluster, added in every cycle (I_perc)"
    )
    train_fraction: float = Field(
        default=0.7, gt=0, lt=1, description="of what is added; the rest judges hyperparameters"
    )
    held_out: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="of the labelled pool, never chosen: it measures what comes out",
    )


class StopSection(Component):
    """[stop]: the first rule that holds ends the distillation.

    The tolerance is on the energy RMSE of the best potential of a cycle: on the cycle's own test
    structures ("test", as in the paper), which chose it and flatter it, on the held-out ones, or on
    both.
    """

    energy_rmse_meV: float = Field(default=2.0, gt=0, description="per atom (E_tol)")
    judged_on: Literal["test", "held_out", "both"] = "both"
    max_fraction: float = Field(default=1.0, gt=0, le=1, description="of the pool that may be used")
    max_cycles: int | None = Field(default=None, ge=1)
    max_hours: float | None = Field(default=None, gt=0)


class CompareSection(Component):
    """[compare]: fits to as many structures chosen otherwise, with the hyperparameters found.

    clusters: as chosen (MLIP(0) of the paper); soap: clusters at delta = 0 (MLIP(1)); farthest: the
    farthest points; random: by chance, always there; everything: all of the pool (MLIP(2)).
    """

    seeds: int = Field(default=5, ge=2, description="draws by each way of choosing")
    arms: tuple[Arm, ...] = ("clusters", "soap", "farthest", "random")

    @model_validator(mode="after")
    def _with_chance(self) -> Self:
        if "random" not in self.arms or "clusters" not in self.arms:
            raise ValueError("clusters and random belong to every comparison; add them to arms")
        if len(set(self.arms)) < len(self.arms):
            raise ValueError(f"{list(self.arms)} names an arm twice; name each once")
        return self


@dataclass(frozen=True)
class DistilConfig:
    """Everything a distillation is made from; pickles, compares by value.

    Attributes
    ----------
    potential : the section as it is written, with its marks.
    space : what is searched, None when no field is marked.
    example : the recipe at the middle of every range.
    """

    campaign: CampaignSection
    pool: PoolConfig
    oracle: OracleConfig | None
    query: ClusteringConfig
    potential: Mapping[str, Any]
    space: SearchSpace | None
    example: PotentialConfig
    search: SearchSection
    cycle: CycleSection
    stop: StopSection
    compare: CompareSection | None = None
    source: str = field(default="", compare=False)

    def recipe(self, point: Point) -> PotentialConfig:
        """The recipe of the potential at a point of the search."""
        return self.example if self.space is None else self.space.recipe(point)

    @classmethod
    def read(cls, path: str | Path) -> DistilConfig:
        """Read a campaign file; FormatError when not TOML, ConfigError when a key is wrong."""
        tables, text = read_tables(Path(path))
        return cls.of(tables, where=str(path), source=text)

    @classmethod
    def of(
        cls, tables: Mapping[str, Any], *, where: str = "campaign", source: str = ""
    ) -> DistilConfig:
        """Build from the tables of a campaign file; ConfigError in one sentence."""
        told = "the sections of a campaign with a [pool] are"
        check_sections(tables, SECTIONS, where, told=told)
        pool = _chosen(tables, "pool", "athanor.pool", PoolConfig, where)
        oracle = _oracle(tables, pool, where)
        table = table_of(tables, "potential", where)
        cycle = _parsed(CycleSection, tables, "cycle", where)
        stop = _parsed(StopSection, tables, "stop", where)
        if stop.judged_on == "held_out" and cycle.held_out == 0:
            raise ConfigError(
                f'{where}: [stop] judged_on = "held_out", but [cycle] held_out = 0 keeps nothing '
                'apart; give a share above 0, or judged_on = "test"'
            )
        where_potential = f"{where}: [potential]"
        space, plain = marked(table, where=where_potential)
        return cls(
            campaign=_parsed(CampaignSection, tables, "campaign", where),
            pool=pool,
            oracle=oracle,
            query=_clustering(tables, where),
            potential=table,
            space=space,
            example=choose("athanor.potentials", PotentialConfig, plain, where=where_potential),
            search=_parsed(SearchSection, tables, "search", where),
            cycle=cycle,
            stop=stop,
            compare=_optional(CompareSection, tables, "compare", where),
            source=source,
        )

    def as_dict(self) -> dict[str, Any]:
        """Every section with every default written out, as plain JSON data."""
        optional = {
            name: None if section is None else section.model_dump(mode="json")
            for name, section in (("oracle", self.oracle), ("compare", self.compare))
        }
        sections = {
            name: getattr(self, name).model_dump(mode="json")
            for name in ("campaign", "pool", "query", "search", "cycle", "stop")
        }
        return {**sections, **optional, "potential": dict(self.potential)}


def is_distillation(tables: Mapping[str, Any]) -> bool:
    """Whether these tables, of a campaign file or a journal, are of a distillation."""
    return "pool" in tables


def _chosen(tables: Mapping[str, Any], name: str, package: str, base: type[Any], where: str) -> Any:
    return choose(package, base, table_of(tables, name, where), where=f"{where}: [{name}]")


def _parsed(kind: type[Any], tables: Mapping[str, Any], name: str, where: str) -> Any:
    """An optional section: its defaults where it is not written."""
    table = table_of(tables, name, where) if name in tables else {}
    return kind.parse(table, where=f"{where}: [{name}]")


def _optional(kind: type[Any], tables: Mapping[str, Any], name: str, where: str) -> Any:
    return _parsed(kind, tables, name, where) if name in tables else None


def _oracle(tables: Mapping[str, Any], pool: PoolConfig, where: str) -> OracleConfig | None:
    if "oracle" in tables:
        found: OracleConfig = _chosen(tables, "oracle", "athanor.oracle", OracleConfig, where)
        return found
    if pool.needs_oracle:
        raise ConfigError(
            f"{where}: this [pool] is made by an oracle; add a section [oracle], or give "
            'kind = "file"'
        )
    return None


def _clustering(tables: Mapping[str, Any], where: str) -> ClusteringConfig:
    table = tables.get("query", {"kind": "clustering"})
    query = choose(
        "athanor.query",
        QueryConfig,
        table_of({"query": table}, "query", where),
        where=f"{where}: [query]",
    )
    if not isinstance(query, ClusteringConfig):
        raise ConfigError(
            f"{where}: [query] a campaign with a [pool] chooses by clusters; write kind = "
            f'"clustering", or take the pool as [sample] kind = "pool" for any other query'
        )
    return query
