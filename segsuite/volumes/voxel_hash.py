"""What an image is, whatever its file does with it: a hash of its voxels in the body's order.

The same scan compressed again, stored along other axes, as another type or in another format hashes to the same. Spacing and
position are left out on purpose: formats round them differently, and the same voxels under another header are the same scan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from segsuite.volumes.orders import order_to_upright
from segsuite.volumes.volume import Volume

__all__ = ["salted", "voxel_hash"]

DIGEST_BYTES = 16


def voxel_hash(volume: Volume) -> str:
    """A hash of shape and voxels as float32, axes brought to RAS+ order, channel by channel.

    Args:
        volume: An image or a label map.

    Returns:
        32 hexadecimal digits; the same for all ways to store the same values, by however many files.
    """
    upright = order_to_upright(volume.grid).applied(volume.array)  # a view
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for seen in upright:
        digest.update(np.asarray(seen.shape, dtype="<i8").tobytes())
        for plane in seen:  # one after the other: no second copy of a large volume
            digest.update((np.ascontiguousarray(plane, dtype="<f4") + np.float32(0)).data)  # minus zero is zero
    return digest.hexdigest()


def salted(hashes: Iterable[str], salt: str) -> list[str]:
    """The same hashes for one place only: what is kept with one salt cannot be matched with what is kept with another.

    Args:
        hashes: From ``voxel_hash``.
        salt: Of the place, hexadecimal.

    Returns:
        One per hash, sorted, so that their order tells nothing.
    """
    key = bytes.fromhex(salt)
    found = (hashlib.blake2b(bytes.fromhex(text), digest_size=DIGEST_BYTES, key=key).hexdigest() for text in hashes)
    return sorted(found)
