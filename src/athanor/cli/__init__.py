"""The command line: `athanor VERB`. Each module holds a group of verbs."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 done, 1 bad input, 2 a limit, 3 internal error.

    `argv` is the line without the program's name; None reads the process's own.
    """
    # typer and the verbs are imported here so that `import athanor.cli` costs nothing
    from athanor.cli.exits import guarded
    from athanor.cli.verbs import build

    return guarded(build, argv)
