"""The terms of SepCLR, each one formula in float32 or better. Rows are subjects, columns dimensions.

Louiset et al., ICLR 2024, arXiv:2402.11928. Only the abstract and the authors' code could be read: each term says which.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipelines.cohort_contrast.kernels import (
    log_kernel,
    mean_of,
    on_sphere,
    positive,
    precise,
    require_rows,
    require_same_rows,
    without_self,
)
from pipelines.cohort_contrast.weights import Weights

__all__ = [
    "alignment",
    "floor_of_uniformity",
    "joint_entropy",
    "null_pull",
    "salient_targets",
    "salient_uniformity",
    "separation_terms",
    "split_uniformity",
    "uniformity",
]


def alignment(first: Tensor, second: Tensor, *, bandwidth: float = 0.5) -> Tensor:
    r"""How far two views of the same subjects lie apart.

    .. math:: A = \frac{1}{N} \sum_i \frac{\lVert a_i - b_i \rVert^2}{2 \tau}

    Args:
        first: (n, d), view 1.
        second: (n, d), view 2.
        bandwidth: tau, above 0.

    Returns:
        Scalar, at least 0.

    Raises:
        ValueError: Other shapes, no rows, or a bandwidth that is not above 0.

    Source: Wang and Isola, ICML 2020, arXiv:2005.10242, eq. 5, scaled as in the authors' code.
    """
    if first.shape != second.shape or first.ndim != 2 or not len(first):
        raise ValueError(
            f"`first` and `second` must be two views (n, d) of the same n >= 1 subjects, got {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
    return (precise(first) - precise(second)).square().sum(1).mean() / (2 * positive(bandwidth))


def uniformity(rows: Tensor, *, bandwidth: float = 0.5, kind: str = "pooled") -> Tensor:
    r"""How crowded a space is: log of the mean kernel over pairs of different rows; 0 if all coincide.

    .. math:: U = \log \frac{2}{N (N - 1)} \sum_{i < j} \exp\left(-\frac{\lVert a_i - a_j \rVert^2}{2 \tau}\right)

    Args:
        rows: (n, d), n at least 2.
        bandwidth: tau, above 0.
        kind: ``pooled`` as above; ``per_anchor``: the mean over i of the log of its own mean, as in InfoNCE.

    Returns:
        Scalar, at most 0.

    Raises:
        ValueError: Fewer than two rows, an unknown kind, or a bandwidth that is not above 0.

    Source: Wang and Isola, ICML 2020, arXiv:2005.10242, eq. 6 with t = 1 / (2 tau), without self pairs as in the code.
    """
    require_rows(rows, least=2, name="rows")
    logits = without_self(log_kernel(rows, bandwidth))
    n = len(rows)
    if kind == "pooled":
        return torch.logsumexp(logits.flatten(), 0) - math.log(n * (n - 1))
    if kind == "per_anchor":
        return (torch.logsumexp(logits, 1) - math.log(n - 1)).mean()
    raise ValueError(f"`kind` must be pooled or per_anchor, got `{kind}`.")


def salient_targets(salient: Tensor, is_diseased: Tensor) -> Tensor:
    """The salient rows with every healthy one replaced by the null point 0: gradients flow through diseased rows only.

    Args:
        salient: (n, d).
        is_diseased: (n,) booleans.

    Returns:
        (n, d).

    Source: the authors' code; the abstract asks for an information-less salient space of the healthy.
    """
    return torch.where(is_diseased[:, None], salient, torch.zeros_like(salient))


def salient_uniformity(salient: Tensor, is_diseased: Tensor, *, bandwidth: float = 0.5, kind: str = "pooled") -> Tensor:
    """How crowded the salient space is when every healthy row stands at the null point.

    Minimised, it spreads the diseased rows apart and away from that point.

    Args:
        salient: (n, d).
        is_diseased: (n,) booleans, at least one of each.
        bandwidth: tau, above 0.
        kind: ``pooled`` or ``per_anchor`` over all rows, see ``uniformity``; ``split``, see ``split_uniformity``.

    Returns:
        Scalar, at most 0; ``pooled`` never falls below ``floor_of_uniformity``.

    Raises:
        ValueError: A group is missing, or a bandwidth that is not above 0.

    Source: the authors' code (pooled).
    """
    _require_groups(is_diseased, least_diseased=1)
    if kind == "split":
        return split_uniformity(salient[is_diseased], bandwidth=bandwidth)
    return uniformity(salient_targets(salient, is_diseased), bandwidth=bandwidth, kind=kind)


def split_uniformity(diseased: Tensor, *, bandwidth: float = 0.5) -> Tensor:
    r"""The same whatever the share of healthy rows: nearness to the null point and to each other weigh half each.

    .. math:: \log \frac{1}{2} \left( \frac{1}{n} \sum_i k(z_i, 0) + \frac{2}{n (n - 1)} \sum_{i < j} k(z_i, z_j) \right)

    Args:
        diseased: (n, d), n at least 2.
        bandwidth: tau, above 0.

    Returns:
        Scalar, at most 0.

    Raises:
        ValueError: Fewer than two rows.

    Source: our own, from the expansion of the pooled form.
    """
    require_rows(diseased, least=2, name="diseased")
    to_null = -precise(diseased).square().sum(1) / (2 * positive(bandwidth))
    near_null = torch.logsumexp(to_null, 0) - math.log(len(diseased))
    return torch.logaddexp(near_null, uniformity(diseased, bandwidth=bandwidth)) - math.log(2)


def floor_of_uniformity(n_healthy: int, n_diseased: int) -> float:
    r"""The least pooled salient uniformity of a batch: diseased rows infinitely far, healthy ones all at the null point.

    .. math:: \log \frac{n_0 (n_0 - 1)}{N (N - 1)}

    Args:
        n_healthy: n0.
        n_diseased: N - n0.

    Returns:
        At most 0; ``-inf`` with fewer than two healthy rows.

    Source: derived from the pooled form.
    """
    n = n_healthy + n_diseased
    return math.log(n_healthy * (n_healthy - 1) / (n * (n - 1))) if n_healthy > 1 else -math.inf


def null_pull(salient: Tensor, is_diseased: Tensor, *, bandwidth: float = 0.5) -> Tensor:
    r"""How far the healthy rows lie from the null point: the information-less constraint.

    .. math:: L_I = \frac{1}{n_0} \sum_{i \in X} \frac{\lVert z_i \rVert^2}{2 \tau}

    Args:
        salient: (n, d).
        is_diseased: (n,) booleans, at least one healthy row.
        bandwidth: tau, above 0.

    Returns:
        Scalar, at least 0.

    Raises:
        ValueError: No healthy row.

    Source: abstract (divergence of p(s|x) from a point mass), as a squared distance as in the authors' code.
    """
    healthy = salient[~is_diseased]
    require_rows(healthy, least=1, name="healthy rows of `salient`")
    return precise(healthy).square().sum(1).mean() / (2 * positive(bandwidth))


def joint_entropy(
    common: Tensor,
    salient: Tensor,
    *,
    common_bandwidth: float = 0.5,
    salient_bandwidth: float = 0.5,
    include_self: bool = False,
) -> Tensor:
    r"""Minus a kernel estimate of the joint entropy of both spaces; minimised, it spreads their pairs (k-JEM).

    .. math:: J = \frac{1}{N} \sum_i \log \frac{1}{N} \sum_j k(c_i, c_j)\, k(s_i, s_j)

    Args:
        common: (n, d_c), on the sphere.
        salient: (n, d_s), healthy rows at the null point.
        common_bandwidth: tau of the common kernel.
        salient_bandwidth: tau of the salient kernel.
        include_self: Count j = i; then J is at least log(1/N). Without it the mean is over N - 1 rows.

    Returns:
        Scalar, at most 0.

    Raises:
        ValueError: Other numbers of rows, or fewer than two.

    Source: name in the abstract; formula of the authors' code, which counts self pairs. Differs: not by default, since
        with few rows the constant self term hides the rest.
    """
    require_same_rows(common, salient)
    logits = log_kernel(common, common_bandwidth) + log_kernel(salient, salient_bandwidth)
    n = len(common)
    if include_self:
        return (torch.logsumexp(logits, 1) - math.log(n)).mean()
    return (torch.logsumexp(without_self(logits), 1) - math.log(n - 1)).mean()


def separation_terms(
    common: tuple[Tensor, Tensor],
    salient: tuple[Tensor, Tensor],
    is_diseased: Tensor,
    weights: Weights,
    *,
    remembered: tuple[Tensor, Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    r"""All terms of one batch, unweighted, and their weighted sum ``loss``.

    .. math:: L = L_C + \beta_S L_S + \beta_I L_I + \lambda_J L_J

    Args:
        common: Two views (n, d_c) of the common head, not normalised yet.
        salient: Two views (n, d_s) of the salient head.
        is_diseased: (n,), booleans or 0 and 1; at least two of each.
        weights: How the terms are weighed.
        remembered: Common rows on the sphere, salient rows and groups of earlier batches, without gradients: they stand
            among the neighbours in uniformity and joint entropy.

    Returns:
        ``loss``, ``common_alignment``, ``common_uniformity``, ``salient_alignment``, ``salient_uniformity``, ``null``,
        ``joint``; all scalars.

    Raises:
        ValueError: Other shapes, a group with fewer than two rows, groups other than 0 and 1, values that are not finite.

    Source: the authors' code; weights per data set in ``weights.PRESETS``.
    """
    diseased = _as_groups(is_diseased)
    _require_groups(diseased, least_diseased=2)
    _require_finite(common=common, salient=salient)
    spheres = tuple(on_sphere(view) for view in common)
    old_common, old_salient, old_diseased = remembered or (common[0][:0], salient[0][:0], diseased[:0])
    everyone = torch.cat([diseased, old_diseased])
    wide_common = [torch.cat([view, old_common.to(view)]) for view in spheres]
    wide_salient = [torch.cat([view.to(spheres[0]), old_salient.to(spheres[0])]) for view in salient]
    tau_c, tau_s = weights.common_bandwidth, weights.salient_bandwidth
    terms = {
        "common_alignment": alignment(spheres[0], spheres[1], bandwidth=tau_c),
        "common_uniformity": mean_of(uniformity(view, bandwidth=tau_c) for view in wide_common),
        "salient_alignment": alignment(salient[0][diseased], salient[1][diseased], bandwidth=tau_s),
        "salient_uniformity": mean_of(
            salient_uniformity(view, everyone, bandwidth=tau_s, kind=weights.kind) for view in wide_salient
        ),
        "null": mean_of(null_pull(view, diseased, bandwidth=tau_s) for view in salient),
        "joint": mean_of(
            joint_entropy(
                with_share_of_gradient(c, weights.joint_on_common),
                salient_targets(s, everyone),
                common_bandwidth=tau_c,
                salient_bandwidth=tau_s,
                include_self=weights.include_self,
            )
            for c, s in zip(wide_common, wide_salient, strict=True)
        ),
    }
    of_common = terms["common_alignment"] + weights.uniformity * terms["common_uniformity"]
    of_salient = terms["salient_alignment"] + weights.uniformity * terms["salient_uniformity"]
    pulls = weights.null * terms["null"] + weights.joint * terms["joint"]
    return {"loss": of_common + weights.salient * of_salient + pulls, **terms}


def with_share_of_gradient(values: Tensor, share: float) -> Tensor:
    """The same values, of whose gradient only a share passes.

    Args:
        values: Any shape.
        share: 0: none; 1: all.

    Returns:
        Same shape.
    """
    return values if share == 1.0 else share * values + (1 - share) * values.detach()


def _as_groups(groups: Tensor) -> Tensor:
    if groups.dtype != torch.bool and not bool(((groups == 0) | (groups == 1)).all()):
        raise ValueError(f"`is_diseased` must be 0 (healthy) or 1 (diseased), got {groups.unique().tolist()}.")
    return groups.bool()


def _require_groups(is_diseased: Tensor, *, least_diseased: int) -> None:
    n_diseased, n = int(is_diseased.sum()), len(is_diseased)
    if n_diseased < least_diseased or n - n_diseased < least_diseased:
        raise ValueError(
            f"`is_diseased` must have at least {least_diseased} rows of each group, got {n - n_diseased} healthy and "
            f"{n_diseased} diseased. Use balanced batches of at least four."
        )


def _require_finite(**views: tuple[Tensor, Tensor]) -> None:
    for name, pair in views.items():
        if not all(bool(torch.isfinite(view).all()) for view in pair):
            raise ValueError(f"`{name}` must be finite, got NaN or infinity. Lower the learning rate, or check the images.")
