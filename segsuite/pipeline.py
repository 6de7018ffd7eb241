"""What a pipeline is, and which ones there are: every folder of ``pipelines/`` that declares one. No list to keep."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from segsuite.engines.run_folder import RunFolder
from segsuite.engines.segmentation import Predictor
from segsuite.errors import SettingsError, closest_hint
from segsuite.settings import PipelineSettings

__all__ = ["Pipeline", "Progress", "Recipe", "Runtime", "demo_pipeline", "find_pipeline", "find_pipelines"]

Progress = Callable[[str, float, dict[str, float]], None]
"""What is being done, the share that is done, and the newest numbers."""


@dataclass(frozen=True)
class Runtime:
    """How a command runs, apart from what it computes.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        workers: Processes or threads beside the main one; ``None``: chosen from the cores.
        progress: Told how far it is.
    """

    device: str = "auto"
    workers: int | None = None
    progress: Progress | None = None

    def tell(self, doing: str, share: float, **numbers: float) -> None:
        """Report progress if somebody listens."""
        if self.progress is not None:
            self.progress(doing, share, numbers)


class Recipe(Protocol):
    """What ``pipelines/<name>/recipe.py`` offers."""

    def train(self, settings: Any, run: RunFolder, runtime: Runtime) -> None:
        """Train and export the model folder into the run."""


class Opener(Protocol):
    """What ``pipelines/<name>/predictor.py`` offers."""

    def load_predictor(self, model: Path, *, device: str, overrides: Mapping[str, Any]) -> Predictor:
        """Open a model folder for prediction.

        Args:
            model: Model or run folder.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            overrides: Of ``inference`` in ``model.json``.

        Returns:
            The predictor.

        Raises:
            ModelError: No model folder, or one of another pipeline.
            SettingsError: An override that the model does not have.
        """


@dataclass(frozen=True)
class Pipeline:
    """One method.

    Attributes:
        name: Its folder.
        summary: What a user gets, one line.
        paper: Where it comes from.
        is_demo: Whether `segsuite demo` runs it when none is named.
        word: Of its verbs on the command line, `segsuite WORD ...`; default: its name.
    """

    name: str
    summary: str
    paper: str = ""
    is_demo: bool = False
    word: str = ""

    @property
    def settings_class(self) -> type[PipelineSettings]:
        """The class ``Settings`` of its ``settings.py``."""
        found: type[PipelineSettings] = self._part("settings").Settings
        return found

    @property
    def recipe(self) -> Recipe:
        """Its ``recipe.py``; importing it loads torch."""
        found: Recipe = self._part("recipe")
        return found

    @property
    def opener(self) -> Opener:
        """Its ``predictor.py``; importing it loads torch, and nothing that only training needs."""
        found: Opener = self._part("predictor")
        return found

    @property
    def commands(self) -> Any | None:
        """The Typer app ``app`` of its ``commands.py``, if it has verbs of its own."""
        name = f"pipelines.{self.name}.commands"
        return importlib.import_module(name).app if importlib.util.find_spec(name) is not None else None

    def _part(self, name: str) -> Any:
        return importlib.import_module(f"pipelines.{self.name}.{name}")


def find_pipelines() -> dict[str, Pipeline]:
    """All pipelines by name.

    Returns:
        Name to pipeline, sorted.

    Raises:
        SettingsError: The importable ``pipelines`` is not the one beside segsuite.
    """
    spec = importlib.util.find_spec("pipelines")
    folders = [Path(place).resolve() for place in (spec.submodule_search_locations or [])] if spec else []
    expected = Path(__file__).resolve().parent.parent / "pipelines"
    if expected not in folders or folders[0] != expected:
        found = ", ".join(map(str, folders)) or "none"
        raise SettingsError(
            f"Python must find segsuite's `pipelines` in {expected}, got {found}. Another folder of that name is in the "
            "way: start segsuite from elsewhere, or rename it."
        )
    names = sorted(path.parent.name for path in expected.glob("*/__init__.py"))
    return {name: importlib.import_module(f"pipelines.{name}").PIPELINE for name in names}


def demo_pipeline() -> Pipeline:
    """The pipeline that shows what the suite does when none is named.

    Returns:
        The first that says so of itself, else the first of all.
    """
    pipelines = list(find_pipelines().values())
    return next((pipeline for pipeline in pipelines if pipeline.is_demo), pipelines[0])


def find_pipeline(name: str) -> Pipeline:
    """One pipeline.

    Args:
        name: Its folder.

    Returns:
        The pipeline.

    Raises:
        SettingsError: There is none of this name.
    """
    pipelines = find_pipelines()
    if name not in pipelines:
        raise SettingsError(f"The pipeline must be an installed one, got `{name}`. {closest_hint(name, pipelines)}")
    return pipelines[name]
