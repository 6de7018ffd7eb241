"""A user without a name (`docker run --user 12345`): libraries ask for it as soon as they are imported."""

from __future__ import annotations

import os

__all__ = ["name_the_user"]

VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")
"""Where `getpass.getuser` looks before it asks the system."""


def name_the_user() -> None:
    """Give the user a name in the environment where neither it nor the system has one: MONAI cannot be imported otherwise."""
    if any(os.environ.get(variable) for variable in VARIABLES):
        return
    try:
        import pwd  # Windows has none, and always has a name

        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["USER"] = f"user{os.getuid()}"
    except ImportError:
        return
