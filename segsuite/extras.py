"""What is installed only on request: the suite works without it, and says what to install when a word needs it."""

from __future__ import annotations

import importlib.util

from segsuite.errors import SettingsError

__all__ = ["require_extra"]


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
