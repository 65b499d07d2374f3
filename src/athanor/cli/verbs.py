"""The table of verbs; each is a function in the module of its group."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from athanor.cli import (
    campaign,
    convert,
    extrapolation,
    kinds,
    potential,
    relax,
    structures,
    validate,
)

PANELS = {
    "Campaign": (campaign.init, campaign.run, campaign.status, campaign.report, kinds.kinds),
    "Potential": (potential.fit, potential.errors, potential.evaluate, validate.validate),
    "Extrapolation": (extrapolation.grade, extrapolation.select),
    "Structures": (relax.relax, structures.mindist, convert.convert),
}

OF_MLIP = {
    "calc-efs": "evaluate",
    "calculate-efs": "evaluate",
    "calc-errors": "errors",
    "check-errors": "errors",
    "train": "fit",
    "calc-grade": "grade",
    "calculate-grade": "grade",
    "sample": "grade",
    "select-add": "select",
    "convert-cfg": "convert",
    "mindist-filter": "mindist",
    "subsample": "convert",
    "fix-lattice": "convert",
    "to-poscar": "convert",
}
"""What the published tool calls a verb, with hyphens or with underscores."""


class Verbs(TyperGroup):
    """The verbs; who types one of the published tool is told ours."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        ours = OF_MLIP.get(cmd_name.replace("_", "-"))
        if found is None and ours is not None:
            ctx.fail(f"No such command {cmd_name!r}: MLIP's is 'athanor {ours}' here")
        return found


def build() -> Any:
    """Return the whole command line as one click command."""
    app = typer.Typer(
        name="athanor",
        cls=Verbs,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(athanor)
    for panel, verbs in PANELS.items():
        for verb in verbs:
            app.command(rich_help_panel=panel)(verb)
    return get_command(app)


def _print_version(value: bool) -> None:
    if value:
        import athanor

        print(athanor.__version__)
        raise typer.Exit


def athanor(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error.")
    ] = False,
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Interatomic potentials by active learning: labels only where the potential is guessing.

    A POTENTIAL is a folder that athanor saved, a .mtp file with --species Al,Ni, or the .info file
    of a published ANI potential. A STRUCTURES file is anything ASE reads, or a .cfg. Exit codes:
    0 done, 1 bad input, 2 stopped by a limit or not within tolerance, 3 internal error.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
