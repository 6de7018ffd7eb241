"""A trained model as a folder: weights without code, all that prediction needs, a card for people, hashes for machines.

Torch is loaded only where weights are: a process that hands cases to another one reads descriptions alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from segsuite.documents import read_json
from segsuite.engines.hub_files import HUB_FILE, METADATA_FILE, bundle_metadata, hub_config
from segsuite.errors import ModelError
from segsuite.files import hash_of_file, make_folder, write_atomically, write_json, write_text
from segsuite.volumes.regions import Regions

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["ModelFolder", "descriptions_in", "load_own_weights", "read_model_folder", "write_ensemble", "write_model_folder"]

FORMAT = 1
SHARED = ("pipeline", "labels", "preprocessing", "channels", "regions", "regions_class_order")
"""In what members of an ensemble agree; regions are there where a model has some."""
WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"


@dataclass(frozen=True)
class ModelFolder:
    """A checked model folder.

    Attributes:
        path: The folder.
        description: Content of ``model.json``.
    """

    path: Path
    description: dict[str, Any]

    @property
    def pipeline(self) -> str:
        """Name of the pipeline that made it."""
        return str(self.description["pipeline"])

    @property
    def labels(self) -> dict[str, int]:
        """Structure name to integer, background included."""
        return {str(name): int(value) for name, value in self.description["labels"].items()}

    @property
    def regions(self) -> Regions | None:
        """What the network decides one by one, if it decides regions."""
        return Regions.from_json(self.description)

    @property
    def sha256(self) -> str:
        """Identifies the model: hash of its description, which holds the hash of its weights."""
        return hash_of_file(self.path / DESCRIPTION_FILE)

    @property
    def members(self) -> list[Path]:
        """Folders of an ensemble's members; empty for a single model."""
        return [self.path / name for name in self.description.get("members", [])]

    def weights(self) -> dict[str, Tensor]:
        """The network's parameters by name.

        Raises:
            ModelError: Values that are no numbers.
        """
        from safetensors.torch import load_file

        weights = load_file(self.path / WEIGHTS_FILE)
        _require_finite(weights, where=self.path)
        return weights


def write_model_folder(folder: Path, *, weights: dict[str, Tensor], description: dict[str, Any], card: str) -> ModelFolder:
    """Write a model folder; the description last, so that a folder without it is incomplete.

    Args:
        folder: Where.
        weights: The network's parameters by name.
        description: Pipeline, constructor arguments, preprocessing, labels, data, versions: JSON values.
        card: Markdown.

    Returns:
        The folder, read back.

    Raises:
        ModelError: Weights that are no numbers.
    """
    from safetensors.torch import save_file

    _require_finite(weights, where=f"The model for {folder}")
    make_folder(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomically(folder / WEIGHTS_FILE, lambda path: save_file(tensors, path))
    write_text(folder / "README.md", card)
    _write_for_others(folder, description)
    digest = hash_of_file(folder / WEIGHTS_FILE)
    content = {"format": FORMAT, **description, "weights": {"file": WEIGHTS_FILE, "sha256": digest}}
    write_json(folder / DESCRIPTION_FILE, content)
    return read_model_folder(folder)


def _write_for_others(folder: Path, description: dict[str, Any]) -> None:
    write_json(folder / HUB_FILE, hub_config(description))
    if "versions" in description:
        make_folder((folder / METADATA_FILE).parent)
        write_json(folder / METADATA_FILE, bundle_metadata(description))


def write_ensemble(folder: Path, members: list[Path], *, card: str) -> ModelFolder:
    """Write a model folder that holds copies of its members; prediction averages their probabilities, one in memory at a time.

    Args:
        folder: Where; the members go into its ``members/``, so that it is complete by itself.
        members: Model folders of one pipeline with the same labels and preprocessing.
        card: Markdown.

    Returns:
        The folder, read back.

    Raises:
        ModelError: The members do not fit together.
    """
    models = [read_model_folder(member) for member in members]
    first = models[0].description
    for model in models[1:]:
        for key in SHARED:
            if model.description.get(key) != first.get(key):
                raise ModelError(
                    f"Members of an ensemble must agree in `{key}`, got {first.get(key)} in {models[0].path} and "
                    f"{model.description.get(key)} in {model.path}. Train the folds with one config and one manifest."
                )
    make_folder(folder)
    names = [f"members/{number}" for number in range(len(members))]
    for name, model in zip(names, models, strict=True):
        shutil.copytree(model.path, folder / name, dirs_exist_ok=True)
    shared = {key: first[key] for key in SHARED if key in first}
    digests = [model.sha256 for model in models]
    write_text(folder / "README.md", card)
    _write_for_others(folder, shared)
    content = {"format": FORMAT, **shared, "members": names, "member_sha256": digests}
    write_json(folder / DESCRIPTION_FILE, content)
    return read_model_folder(folder)


def read_model_folder(folder: Path) -> ModelFolder:
    """Open a model folder and check that its weights are the ones it was exported with.

    Args:
        folder: The folder, or a run folder that holds ``model/``.

    Returns:
        The checked folder.

    Raises:
        ModelError: Not a model folder, unknown format, or changed weights.
    """
    if not (folder / DESCRIPTION_FILE).is_file() and (folder / "model" / DESCRIPTION_FILE).is_file():
        folder = folder / "model"
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise ModelError(
            f"{folder} must be a model folder with {DESCRIPTION_FILE}, got "
            f"{'no such folder' if not folder.is_dir() else 'a folder without it'}. Give RUN/model of a finished training."
        )
    description = read_json(path, error=ModelError)
    try:
        version, members = int(description["format"]), description.get("members", [])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} must be the JSON that training wrote, got: {error!r}. Export the model again.") from error
    if version != FORMAT:
        raise ModelError(f"{path} must have format {FORMAT}, got {version}. Use the segsuite that wrote it, or train again.")
    model = ModelFolder(folder, description)
    for member, digest in zip(model.members, description.get("member_sha256", []), strict=bool(members)):
        if read_model_folder(member).sha256 != digest:
            raise ModelError(f"{member} must be the member that the ensemble {folder} was made from, got a changed one.")
    if not members:
        _check_weights(model)
    return model


def descriptions_in(folder: Path) -> list[dict[str, Any]]:
    """The description of a single model, or those of an ensemble's members; nothing is checked, and no weights are read.

    Args:
        folder: Model or run folder.

    Returns:
        Contents of ``model.json``.
    """
    place = folder if (folder / DESCRIPTION_FILE).is_file() else folder / "model"
    description: dict[str, Any] = read_json(place / DESCRIPTION_FILE, error=ModelError)
    members = [place / name for name in description.get("members", [])]
    return [found for member in members for found in descriptions_in(member)] or [description]


def load_own_weights(network: nn.Module, tensors: Mapping[str, Tensor], *, model: ModelFolder) -> None:
    """Put a model's weights into its network, all of them.

    Args:
        network: As the description says; changed in place.
        tensors: Of the model, those of the network.
        model: Where they come from.

    Raises:
        ModelError: They are of another network.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(
            f"{model.path} must hold the weights of its own network, got: {str(error).splitlines()[-1].strip()}. "
            "Export the model again."
        ) from error


def _check_weights(model: ModelFolder) -> None:
    path = model.path / WEIGHTS_FILE
    expected = model.description.get("weights", {}).get("sha256", "")
    found = hash_of_file(path) if path.is_file() else "no file"
    if found != expected:
        raise ModelError(
            f"{path} must have the sha256 {expected[:12]}... that {DESCRIPTION_FILE} names, got {found[:12]}. "
            "The file was changed or truncated: copy the model folder again."
        )
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ModelError(f"{path} must be a safetensors file, got: {error}. Copy the model folder again.") from error


def _require_finite(weights: dict[str, Tensor], *, where: object) -> None:
    """Check that a network's parameters are numbers: another network finds nothing, or anything."""
    for name, tensor in weights.items():
        finite = tensor.isfinite()
        if not bool(finite.all()):
            raise ModelError(
                f"{where} must hold weights that are numbers, got {int((~finite).sum())} NaN or infinite of {tensor.numel()} in "
                f"`{name}`. Train again: a training that ran into this cannot be used."
            )
