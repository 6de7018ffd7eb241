"""Who has no name gets one, and nobody else does."""

from __future__ import annotations

import getpass
import os
import pwd

import pytest

from segsuite.unnamed_user import VARIABLES, name_the_user


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")


def test_a_user_that_the_system_does_not_know_gets_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    name_the_user()
    assert getpass.getuser() == f"user{os.getuid()}"


def test_a_user_with_a_name_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: ("somebody",))
    name_the_user()
    assert not any(os.environ[variable] for variable in VARIABLES)
    monkeypatch.setenv("LOGNAME", "someone")
    name_the_user()
    assert not os.environ["USER"]
