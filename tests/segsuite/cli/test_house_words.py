from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

Command = Callable[..., tuple[int, str, str]]
WORDS = [
    "list",
    "show",
    "copy",
    "demo",
    "manifest",
    "plan",
    "train",
    "predict",
    "slurm",
    "evaluate",
    "compare",
    "report",
    "overlay",
    "view",
    "doctor",
]


def test_list_names_what_there_is(segsuite: Command) -> None:
    code, out, _ = segsuite("list", "--json")
    found = json.loads(out)
    assert code == 0
    assert "supervised" in found["pipelines"]
    assert "supervised/hippocampus" in found["configs"]
    assert "msd_hippocampus" in found["manifests"]


def test_show_resolves_and_overrides(segsuite: Command) -> None:
    code, out, _ = segsuite("show", "supervised/hippocampus", "training.max_minutes=3")
    assert code == 0
    assert yaml.safe_load(out)["training"]["max_minutes"] == 3


def test_version(segsuite: Command) -> None:
    from segsuite import __version__

    assert segsuite("--version")[:2] == (0, __version__ + "\n")


def test_copy_never_overwrites(segsuite: Command, tmp_path: Path) -> None:
    assert segsuite("copy", "supervised/default", tmp_path / "mine")[0] == 0
    code, _, err = segsuite("copy", "supervised/default", tmp_path / "mine")
    assert code == 1
    assert "must not exist yet" in err


def test_doctor_passes_here(segsuite: Command) -> None:
    code, out, _ = segsuite("doctor", "--json")
    assert code == 0
    assert all(not test["problem"] for test in json.loads(out)["tests"])


@pytest.mark.parametrize("word", ["", *WORDS])
def test_every_help_page_ends_with_an_example(segsuite: Command, word: str) -> None:
    code, out, _ = segsuite(*([word] if word else []), "--help")
    assert code == 0
    assert "Example: segsuite" in " ".join(out.split())


def test_usage_errors_exit_with_1(segsuite: Command) -> None:
    assert segsuite("trian")[0] == 1
    assert segsuite("predict")[0] == 1
    assert segsuite("train", "supervised/phantom", "--no-such-option")[0] == 1


@pytest.mark.slow
def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom segsuite.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'monai', 'numpy', 'pandas', 'SimpleITK') if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"
