"""What is installed only on request: the suite works without it, and says what to install when a word needs it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

from segsuite.errors import SettingsError

__all__ = ["import_engine", "require_extra"]


def require_extra(extra: str, *modules: str, purpose: str) -> None:
    """Check that an extra is installed.

    Args:
        extra: Its name in ``pip install 'segsuite[...]'``.
        *modules: What it brings.
        purpose: What needs it, for the message.

    Raises:
        SettingsError: A module is not there.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise SettingsError(f"{purpose} must have {', '.join(missing)}, got none. Install it: pip install 'segsuite[{extra}]'.")


def import_engine(name: str) -> Any:
    """An engine for networks, with its telemetry off: the only place that imports one.

    OpenVINO looks up a host and leaves a file in the home folder as soon as it is imported; ONNX Runtime, from 1.29 on, does so
    for every network that it opens.

    Args:
        name: Module, such as ``openvino`` or ``onnxruntime.quantization``.

    Returns:
        The module.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # whoever imports it is told that it is not there
    return importlib.import_module(name)
