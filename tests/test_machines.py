"""The command line says the same in the same words under another locale, user, home, terminal and working folder.

`make machines` runs the whole suite under such conditions; these are the ones that cost little.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("machines", ROOT / "tests" / "machines" / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["machines"] = module
    spec.loader.exec_module(module)
    return module


runner = _runner()


def run(machine: str, work: Path, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    declared = {known.name: known.environment for known in runner.MACHINES}[machine]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **declared}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    environment = {name: value for name, value in environment.items() if value or name not in declared}
    command = [*prefix, sys.executable, "-m", "segsuite", *words]
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=120)


@pytest.fixture(scope="module")
def expected(cohort_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the commands say on this machine."""
    work = tmp_path_factory.mktemp("work")
    return {" ".join(words): run("full", work, *words).stdout for words in _commands(cohort_folder)}


def _commands(cohort: Path) -> list[tuple[str, ...]]:
    return [("list", "--json"), ("manifest", "check", str(cohort / "manifest.json"), "--json")]


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["avx2", "no-home", "nobody"])
def test_commands_say_the_same_on_every_machine(
    machine: str, cohort_folder: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    prefix = runner.ANOTHER_USER if machine == "nobody" else ()
    if prefix and not runner._can_run(prefix):
        pytest.skip(f"another user cannot be declared here: `{' '.join(prefix)}` is not allowed")
    work = tmp_path / "work"
    work.mkdir()
    if machine == "nobody":
        work.chmod(0o555)
    for words in _commands(cohort_folder):
        ended = run(machine, work, *words, prefix=prefix)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout) == json.loads(expected[" ".join(words)])
    assert list(work.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["avx2", "bfloat16"])
def test_a_declared_processor_is_what_processes_see(machine: str, tmp_path: Path) -> None:
    asked = "import torch; from segsuite.engines.backends import has_fast_bfloat16 as f; print(f(torch.device('cpu')))"
    declared = {known.name: known.environment for known in runner.MACHINES}[machine]
    environment = {**os.environ, **declared}
    environment["PYTHONPATH"] = os.pathsep.join([declared.get("PYTHONPATH", ""), str(ROOT)])  # not another machine's
    ended = subprocess.run(
        [sys.executable, "-c", asked], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert ended.stdout.split() == [str(machine == "bfloat16")], ended.stderr


def test_every_part_of_the_suite_is_run_once() -> None:
    parts = runner._parts(runner.MACHINES[0])
    files = [path for part in parts for path in part]
    assert len(files) == len(set(files)) == len(list((ROOT / "tests").rglob("test_*.py")))
