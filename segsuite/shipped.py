"""Where the configs and manifests that come with segsuite are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from segsuite.errors import SettingsError, closest_hint

__all__ = ["find_config", "find_manifest", "shipped_configs", "shipped_folder", "shipped_manifests"]

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder(name: str) -> Path:
    """The folder ``configs`` or ``data_manifests``; the checkout's own when a ``pyproject.toml`` stands beside the package.

    Args:
        name: ``configs`` or ``data_manifests``.

    Returns:
        An existing folder.

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    checkout = _PACKAGE.parent
    folder = checkout / name if (checkout / "pyproject.toml").is_file() else _PACKAGE / "_shipped" / name
    if not folder.is_dir():
        raise FileNotFoundError(f"segsuite needs its folder {folder}, which is not there. Install segsuite again.")
    return folder


def shipped_configs() -> dict[str, Path]:
    """Every shipped config by its name, for example ``supervised/hippocampus``."""
    root = shipped_folder("configs")
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.yaml"))}


def shipped_manifests() -> dict[str, Path]:
    """Every shipped manifest by its name, for example ``msd_hippocampus``."""
    paths = sorted(shipped_folder("data_manifests").glob("*.json"))
    return {path.stem: path for path in paths if path.name != "manifest.schema.json"}


def find_config(name_or_path: str) -> Path:
    """The file of a config that the user named by path or by shipped name.

    Args:
        name_or_path: ``my.yaml`` or ``supervised/hippocampus``.

    Returns:
        An existing file.

    Raises:
        SettingsError: Neither a file nor a shipped name.
    """
    return _find(name_or_path, shipped_configs(), "config", "segsuite list")


def find_manifest(name_or_path: str) -> Path:
    """The file of a manifest that the user named by path or by shipped name.

    Args:
        name_or_path: ``my.json`` or ``msd_hippocampus``.

    Returns:
        An existing file.

    Raises:
        SettingsError: Neither a file nor a shipped name.
    """
    return _find(name_or_path, shipped_manifests(), "manifest", "segsuite list")


def _find(name_or_path: str, shipped: dict[str, Path], kind: str, command: str) -> Path:
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    if name_or_path in shipped:
        return shipped[name_or_path]
    raise SettingsError(
        f"The {kind} must be a file or a shipped name, got `{name_or_path}`. "
        f"{closest_hint(name_or_path, shipped)} `{command}` shows them all."
    )
