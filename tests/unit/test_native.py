"""The C++ core's own tests, built without Python and run by ctest."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_ctest_passes(tmp_path: Path) -> None:
    run(
        SCRIPTS / "cmake",
        *("-S", ROOT, "-B", tmp_path, "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={SCRIPTS / 'ninja'}",
        *("-DATHANOR_PYTHON=OFF", "-DATHANOR_TESTS=ON"),
    )
    run(SCRIPTS / "cmake", "--build", tmp_path)
    said = run(SCRIPTS / "ctest", "--test-dir", tmp_path, "--output-on-failure")
    assert "100% tests passed" in said
    assert "No tests were found" not in said
