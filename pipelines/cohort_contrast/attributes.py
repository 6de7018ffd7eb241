"""Known attributes of the diseased in place of views: one salient dimension per attribute (the supervised extension)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipelines.cohort_contrast.kernels import positive, precise
from pipelines.cohort_contrast.losses import null_pull, salient_uniformity

__all__ = ["CLASS_WIDTH", "VALUE_WIDTH", "attribute_alignment", "attribute_terms"]

VALUE_WIDTH, CLASS_WIDTH = 0.025, 1e-5
"""Squared widths of likeness of the authors' code, for attributes scaled to about [0, 1]."""


def attribute_alignment(values: Tensor, attribute: Tensor, *, width: float, normalised: bool = False) -> Tensor:
    r"""Pulls subjects of similar attribute together along one dimension: the supervised extension.

    .. math:: L = \frac{2}{n (n - 1)} \sum_{i < j} w_{ij} (z_i - z_j)^2, \quad
        w_{ij} = \exp\left(-\frac{(y_i - y_j)^2}{2 w}\right)

    Args:
        values: (n,), one dimension of the salient space, diseased rows.
        attribute: (n,), scaled to about [0, 1]; ``nan`` where it is not known: those rows are left out.
        width: w, the squared width of likeness; 0.025 for continuous attributes, 1e-5 for classes.
        normalised: Divide by the sum of the weights instead of the number of pairs, so that rare classes count as much.

    Returns:
        Scalar, at least 0; 0 if fewer than two rows know the attribute.

    Raises:
        ValueError: Other lengths.

    Source: the authors' code for dSprites; abstract (target attributes known).
    """
    if values.shape != attribute.shape or values.ndim != 1:
        raise ValueError(f"`values` and `attribute` must be (n,) each, got {tuple(values.shape)} and {tuple(attribute.shape)}.")
    known = ~attribute.isnan()
    z, y = precise(values[known]), precise(attribute[known])
    if len(z) < 2:
        return values.sum() * 0.0
    likeness = torch.exp(-(y[:, None] - y[None]).square() / (2 * positive(width))).triu(1)
    apart = (z[:, None] - z[None]).square()
    return (likeness * apart).sum() / (likeness.sum().clamp_min(1e-12) if normalised else len(z) * (len(z) - 1) / 2)


def attribute_terms(
    salient: Tensor, attributes: Tensor, is_diseased: Tensor, *, is_class: Sequence[bool], normalised: bool = False
) -> Tensor:
    r"""The salient term where attributes are known: dimension k carries attribute k, healthy rows stand at the null point.

    .. math:: L_S = \frac{1}{K} \sum_k \left( U_k + \frac{L_{sup,k} + A_{null,k}}{2} \right)

    Args:
        salient: (n, K).
        attributes: (n, K), scaled to about [0, 1], ``nan`` where unknown.
        is_diseased: (n,) booleans.
        is_class: Per attribute, whether it is a class instead of a value.
        normalised: See ``attribute_alignment``.

    Returns:
        Scalar.

    Raises:
        ValueError: Another number of attributes than dimensions, or a group is missing.

    Source: the authors' code for dSprites, whose five attributes make the factor 1/5.
    """
    if salient.shape != attributes.shape or salient.shape[1] != len(is_class):
        raise ValueError(
            f"`attributes` must have one column per salient dimension, got {tuple(attributes.shape)} for "
            f"{tuple(salient.shape)} and {len(is_class)} kinds."
        )
    terms = []
    for k, discrete in enumerate(is_class):
        column = salient[:, k : k + 1]
        pulled = attribute_alignment(
            column[is_diseased, 0],
            attributes[is_diseased, k],
            width=CLASS_WIDTH if discrete else VALUE_WIDTH,
            normalised=normalised,
        )
        terms.append(salient_uniformity(column, is_diseased) + (pulled + null_pull(column, is_diseased)) / 2)
    return torch.stack(terms).mean()
