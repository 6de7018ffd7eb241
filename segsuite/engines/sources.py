"""Where an image came from, as a mark that tells two places apart and does not give them away: paths can hold names."""

from __future__ import annotations

import hashlib
import secrets

from segsuite.engines.input_case import InputCase
from segsuite.files import real_path

__all__ = ["is_mark_of", "mark_of", "source_of"]

SALT_DIGITS = 8
HASH_DIGITS = 16


def source_of(case: InputCase) -> str:
    """The resolved places of a case's images, one in a line.

    Args:
        case: Its images, or what they are copies of.
    """
    return case.source or "\n".join(map(real_path, case.images))


def mark_of(source: str) -> str:
    """A salted hash, another one every time; see ``is_mark_of``.

    Args:
        source: From ``source_of``.

    Returns:
        24 hexadecimal digits.
    """
    return _marked(source, secrets.token_hex(SALT_DIGITS // 2))


def is_mark_of(mark: str, source: str) -> bool:
    """Whether a mark was made of a source.

    Args:
        mark: From ``mark_of``, or anything.
        source: From ``source_of``.
    """
    return mark == _marked(source, mark[:SALT_DIGITS])


def _marked(source: str, salt: str) -> str:
    return salt + hashlib.sha256(f"{salt}{source}".encode(errors="surrogatepass")).hexdigest()[:HASH_DIGITS]
