"""Whether a mask hangs together as its reference does: pieces, tunnels, cavities, and the centre lines of tubes."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import euler_number
from skimage.morphology import skeletonize

from segsuite.metrics.overlap import require_same_shape
from segsuite.shapes import Mask

__all__ = ["Topology", "cl_dice_score", "topology_of", "topology_score"]

TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Voxels of a structure hang together by faces, edges and corners; those of its background by faces only."""


@dataclass(frozen=True)
class Topology:
    """The Betti numbers of a mask.

    Attributes:
        n_components: Pieces that do not touch.
        n_tunnels: Ways through, as in a ring.
        n_cavities: Holes that are closed on all sides.
    """

    n_components: int
    n_tunnels: int
    n_cavities: int


def topology_of(mask: Mask) -> Topology:
    r"""Count pieces, tunnels and cavities.

    .. math:: \chi = b_0 - b_1 + b_2

    with pieces :math:`b_0`, tunnels :math:`b_1`, cavities :math:`b_2` and the Euler number :math:`\chi`.

    Args:
        mask: Boolean (i, j, k).

    Returns:
        The three numbers; all 0 for an empty mask.

    Source: Kong and Rosenfeld, Comput. Vis. Graph. Image Process. 1989, doi:10.1016/0734-189X(89)90147-3.
    """
    padded = np.pad(mask, 1)
    n_components = int(ndimage.label(padded, structure=TOUCHING)[1])
    n_cavities = int(ndimage.label(~padded)[1]) - 1
    return Topology(n_components, n_components + n_cavities - int(euler_number(padded, connectivity=3)), n_cavities)


def topology_score(predicted: Topology, reference: Topology) -> float:
    """Whether two masks have equal numbers of pieces, tunnels and cavities.

    A difference of counts would not do as a score: a missed structure would be closer to the reference than one in many
    pieces.

    Args:
        predicted: Of one mask.
        reference: Of the other.

    Returns:
        1 or 0; ``nan`` if both masks are empty.
    """
    if not predicted.n_components and not reference.n_components:
        return math.nan
    return float(astuple(predicted) == astuple(reference))


def cl_dice_score(predicted: Mask, reference: Mask) -> float:
    r"""Centre-line Dice: how much of each tube's skeleton lies inside the other tube; 1 is best.

    .. math:: \frac{2 T_P T_S}{T_P + T_S}, \quad T_P = \frac{|S_P \cap V_R|}{|S_P|}, \quad T_S = \frac{|S_R \cap V_P|}{|S_R|}

    Args:
        predicted: Boolean (i, j, k).
        reference: Boolean on the same grid.

    Returns:
        In [0, 1]; ``nan`` if both masks are empty, 0 if one is.

    Raises:
        GridError: The masks differ in shape.

    Source: Shit et al., CVPR 2021, arXiv:2003.07311, equations 1 and 2; skeletons by Lee et al., CVGIP 1994,
        doi:10.1006/cgip.1994.1042.
    """
    require_same_shape(predicted, reference)
    if not predicted.any() and not reference.any():
        return math.nan
    precision, sensitivity = _share_inside(predicted, reference), _share_inside(reference, predicted)
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def _share_inside(tube: Mask, other: Mask) -> float:
    skeleton = skeletonize(tube, method="lee") > 0
    n_voxels = int(np.count_nonzero(skeleton))
    return int(np.count_nonzero(skeleton & other)) / n_voxels if n_voxels else 0.0
