from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.supervised.settings import Settings
from segsuite.errors import SettingsError
from segsuite.settings import TrainingSettings, as_yaml, read_config, validated


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_extends_and_overrides(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "pipeline: supervised\nname: base\ntraining: {max_minutes: 5, max_steps: 3}\n")
    child = write(tmp_path / "child.yaml", "extends: base.yaml\nname: child\ntraining: {max_steps: 9}\n")
    content = read_config(child, ["training.learning_rate=1e-4", "plan.spacing_mm=[1,1,2]", "data.fold=null"])
    settings = validated(content, Settings, source=child)
    assert (settings.name, settings.training.max_minutes, settings.training.max_steps) == ("child", 5, 9)
    assert (settings.training.learning_rate, settings.plan.spacing_mm) == (1e-4, (1, 1, 2))


def test_written_settings_read_back(tmp_path: Path) -> None:
    settings = validated(read_config("supervised/phantom"), Settings, source="x")
    assert validated(read_config(write(tmp_path / "s.yaml", as_yaml(settings))), Settings, source="x") == settings


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.max_minuts=3", r"key `training.max_minuts` is unknown. Did you mean `max_minutes`\?"),
        ("data.phantom.n_case=3", r"key `data.phantom.n_case` is unknown. Did you mean `n_cases`\?"),
        ("training.max_minutes=fast", r"`training.max_minutes`: .*got 'fast'"),
        ("training.optimiser=lion", r"`training.optimiser`: .*got 'lion'"),
        ("trainin.max_minutes=3", r"key `trainin` is unknown. Did you mean `training`\?"),
        ("training", r"An override must look like training.max_minutes=5, got `training`"),
        ("name.first=x", r"must point into a group of settings"),
        ("training.max_minutes=[", r"must be YAML"),
    ],
)
def test_what_is_wrong_is_named(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        validated(read_config("supervised/phantom", [override]), Settings, source="supervised/phantom")


def test_all_findings_come_at_once() -> None:
    overrides = ["training.max_minuts=3", "seed=x"]
    with pytest.raises(SettingsError, match=r"max_minuts.*; `seed`|`seed`.*; .*max_minuts"):
        validated(read_config("supervised/phantom", overrides), Settings, source="c")


def test_circle_of_extends(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "extends: b.yaml\n")
    write(tmp_path / "b.yaml", "extends: a.yaml\n")
    with pytest.raises(SettingsError, match="must not lead back to itself"):
        read_config(str(tmp_path / "a.yaml"))


def test_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must hold settings by name, got list"):
        read_config(write(tmp_path / "a.yaml", "- 1\n"))


def test_training_must_end() -> None:
    with pytest.raises(SettingsError, match="training must end"):
        validated(read_config("supervised/phantom", ["training.max_minutes=null"]), Settings, source="c")


def test_code_in_a_config_is_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must be YAML"):
        read_config(write(tmp_path / "a.yaml", "name: !!python/object/apply:os.system ['true']\n"))


def test_a_target_needs_validations() -> None:
    with pytest.raises(ValidationError, match="must have validations to judge by"):
        TrainingSettings(epochs_per_validation=0, target=0.9)
    assert TrainingSettings(patience=3).may_stop_early
    assert TrainingSettings(target=0.9).may_stop_early
    assert not TrainingSettings().may_stop_early
