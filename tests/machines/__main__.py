"""Run the suite as if on other machines: `make machines`. What is done for this state of the code is not done again.

Each machine is a set of conditions that can be declared anywhere; the suite is to be green on all of them. Results stand in
`build/machines/`, one log for each part of the suite.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / "build" / "machines"
SOURCES = ("segsuite", "pipelines", "configs", "data_manifests", "tests", "pyproject.toml")
FAST_BFLOAT16 = ROOT / "tests" / "machines" / "bfloat16_is_fast"
N_PARTS = 4
"""Of the suite, for each machine: what was done is remembered by the part."""
SECONDS_FOR_A_PART = 1800
ANOTHER_USER = ("unshare", "--user", "--map-user=12345")
"""Another user than root, without a name, a home or the right to do what permissions forbid."""


@dataclass(frozen=True)
class Machine:
    """Conditions for the suite.

    Attributes:
        name: One word.
        says: What is unusual about it.
        environment: Variables; an empty value takes the variable away.
        prefix: Command that runs the command.
        n_processes: Files of tests at the same time.
        read_only: The working folder cannot be written to.
        widened: Only the tests that have more to do where `SEGSUITE_FULL` is set, with all they have.
    """

    name: str
    says: str
    environment: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    n_processes: int = 2
    read_only: bool = False
    widened: bool = False


MACHINES = (
    Machine(
        "bfloat16",
        "bfloat16 is said to be fast; the terminal has 200 columns",
        {"PYTHONPATH": os.pathsep.join([str(FAST_BFLOAT16), os.environ.get("PYTHONPATH", "")]), "COLUMNS": "200"},
    ),
    Machine(
        "avx2",
        "an older processor: AVX2, no bfloat16; the terminal has 80 columns",
        {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "COLUMNS": "80"},
    ),
    Machine("one-core", "one core", prefix=("taskset", "--cpu-list", "0"), n_processes=1),
    Machine(
        "no-home",
        "LANG=C and no HOME",
        {"LANG": "C", "LC_ALL": "C", "HOME": "", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""},
    ),
    Machine(
        "nobody",
        "a user who is not root and has no name; a working folder that is read only",
        {"HOME": "/nonexistent"},
        prefix=ANOTHER_USER,
        read_only=True,
    ),
    Machine("full", "every member of the products of which the suite takes a slice", {"SEGSUITE_FULL": "1"}, widened=True),
)


def main() -> int:
    """Run what is left, print a line for each machine; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(machine.name for machine in MACHINES)}")
    wanted = parser.parse_args().names or [machine.name for machine in MACHINES]
    print(f"Processor: {_processor()}, torch: {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores", flush=True)
    results = [_run(machine) for machine in MACHINES if machine.name in wanted]
    return 0 if all(results) else 1


def _run(machine: Machine) -> bool:
    folder = STATE / _hash_of_sources()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    if machine.prefix and not _can_run(machine.prefix):
        print(f"{machine.name:10} NOT RUN: `{' '.join(machine.prefix)}` is not allowed here ({machine.says})", flush=True)
        return False
    lines, seconds, failed = [], 0.0, False
    for number, files in enumerate(_parts(machine)):
        done = folder / f"{machine.name}_{number}.json"
        if not done.is_file() or json.loads(done.read_text())["code"]:
            done.write_text(json.dumps(_run_part(machine, files, done.with_suffix(".log"))))
        outcome = json.loads(done.read_text())
        seconds += outcome["seconds"]
        failed |= bool(outcome["code"])
        lines.append(outcome["last"])
    print(f"{machine.name:10} {'FAILED' if failed else 'green'} in {seconds / 60:.1f} min ({machine.says})", flush=True)
    for line in lines:
        print(f"           {line}", flush=True)
    return not failed


def _run_part(machine: Machine, files: list[str], log: Path) -> dict[str, object]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **machine.environment}
    environment = {name: value for name, value in environment.items() if value or name not in machine.environment}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="segsuite-machine-") as scratch:
        work, temporary = Path(scratch) / "work", Path(scratch) / "tmp"
        work.mkdir()
        temporary.mkdir()
        if machine.read_only:
            work.chmod(0o555)
        environment |= {"TMPDIR": str(temporary), "HYPOTHESIS_STORAGE_DIRECTORY": str(temporary / "hypothesis")}
        pytest = [sys.executable, "-m", "pytest", f"--rootdir={ROOT}", f"--config-file={ROOT / 'pyproject.toml'}"]
        how = ["-p", "no:cacheprovider", f"--basetemp={temporary / 'pytest'}", "--numprocesses", str(machine.n_processes)]
        command = [*machine.prefix, *pytest, *how, "--dist", "loadfile", *files]
        with log.open("w", encoding="utf-8") as stream:
            try:
                code = subprocess.run(
                    command, cwd=work, env=environment, stdout=stream, stderr=stream, timeout=SECONDS_FOR_A_PART, check=False
                ).returncode
            except subprocess.TimeoutExpired:
                code = 124
        work.chmod(0o755)
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    failures = [line for line in text if line.startswith(("FAILED", "ERROR"))]
    last = "; ".join([*failures, next((line.strip("= ") for line in reversed(text) if line.strip()), "no output")])
    return {"code": code, "last": last, "seconds": round(time.monotonic() - started, 1), "files": len(files)}


def _parts(machine: Machine) -> list[list[str]]:
    files = sorted(str(path) for path in (ROOT / "tests").rglob("test_*.py"))
    if machine.widened:
        return [[path for path in files if "SEGSUITE_FULL" in Path(path).read_text(encoding="utf-8")]]
    return [files[number::N_PARTS] for number in range(N_PARTS)]


def _can_run(prefix: tuple[str, ...]) -> bool:
    if shutil.which(prefix[0]) is None:
        return False
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0


def _hash_of_sources() -> str:
    digest = hashlib.sha256()
    for name in SOURCES:
        top = ROOT / name
        for path in sorted([top] if top.is_file() else top.rglob("*")):
            if path.is_file() and path.suffix not in (".pyc", ".json.tmp") and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_vnni") if flag in flags]
    return f"{', '.join(sorted(names)) or platform.processor()} ({' '.join(known)})"


if __name__ == "__main__":
    sys.exit(main())
