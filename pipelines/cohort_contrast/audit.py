"""What an auditor asks of a contrast: leaks, sites, borders, dependence of the spaces, and two runs that must find nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.cohort_contrast.embedding import Spaces, coarse_pixels, embed, finish_network
from pipelines.cohort_contrast.fitting import fit_branches
from pipelines.cohort_contrast.independence import permutation_p_value, standardised
from pipelines.cohort_contrast.module import Independence
from pipelines.cohort_contrast.scans import Scans
from pipelines.cohort_contrast.subjects import MOST_CONFOUNDED, cramers_v
from pipelines.cohort_contrast.summary import area_with_interval, is_shared
from pipelines.cohort_contrast.views import Views
from pipelines.cohort_contrast.weights import weights_of
from segsuite.engines.run_folder import RunFolder
from segsuite.metrics.probes import probe_attribute, shared_variance
from segsuite.seeding import keyed_generator
from segsuite.shapes import FloatArray

__all__ = ["Check", "audit_cohort", "border_facts", "near_duplicates", "permuted_groups"]

ALIKE = 0.9995
MOST_BORDER_ACCURACY = 0.8
MOST_SHARED_VARIANCE = 0.5
MOST_KNOWN = 0.5
"""Of a common attribute from the salient space, with chance at 0 and perfect at 1."""
N_PERMUTATIONS = 200
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes:
        name: What was asked.
        passed: Whether nothing is wrong.
        found: The numbers.
        meaning: What to think of it.
    """

    name: str
    passed: bool
    found: str
    meaning: str


def audit_cohort(
    scans: Scans,
    is_training: FloatArray,
    spaces: Spaces,
    recipe: Mapping[str, Any],
    *,
    steps: int,
    seed: int,
    device: torch.device,
    tell: Tell,
) -> list[Check]:
    """All checks.

    Args:
        scans: Training and held-out scans.
        is_training: (n,) booleans.
        spaces: Of all scans.
        recipe: ``recipe`` and ``network`` of ``model.json``: what the two trainings repeat.
        steps: Of each of the two trainings.
        seed: Of permutations.
        device: Of the two trainings.
        tell: Told what is being done.

    Returns:
        The checks, in a fixed order.
    """
    training, held_out = np.asarray(is_training, dtype=bool), ~np.asarray(is_training, dtype=bool)
    tell("subjects and duplicates")
    checks = [_overlap(scans, training), _duplicates(scans), _sites(scans)]
    tell("borders")
    checks.append(_borders(scans, training))
    tell("dependence of the spaces")
    checks += _dependence(scans, spaces, training, seed)
    checks += _common_attributes(scans, spaces, training)
    if not held_out.any():
        return checks
    tell("a run with permuted groups")
    checks.append(_null_run("permuted groups", permuted_groups(scans, seed), training, recipe, steps, seed, device))
    tell("a run of healthy against healthy")
    healthy = ~np.asarray(scans.is_diseased, dtype=bool)
    fake = permuted_groups(replace(scans.part(healthy), is_diseased=_halves(scans.part(healthy))), seed)
    checks.append(_null_run("healthy against healthy", fake, training[healthy], recipe, steps, seed, device))
    return checks


def near_duplicates(scans: Scans) -> list[tuple[str, str]]:
    """Pairs of scans of different subjects that are the same picture up to noise.

    Args:
        scans: Any number; what is kept of each is a small thumbnail.

    Returns:
        Pairs of case ids.
    """
    thumbs = []
    for row in range(len(scans)):
        small = coarse_pixels(scans.batch([row]))[0].double()
        thumbs.append((small - small.mean()) / small.std().clamp_min(1e-9))
    table = torch.stack(thumbs)
    found = []
    for row in range(len(table)):
        alike = (table[row + 1 :] @ table[row]) / (table.shape[1] - 1)
        for other in (torch.nonzero(alike > ALIKE).flatten() + row + 1).tolist():
            if scans.subjects[row] != scans.subjects[other]:
                found.append((scans.names[row], scans.names[other]))
    return found


def border_facts(scans: Scans) -> FloatArray:
    """What the outermost voxels say: per face of the field mean and spread, and the share of the darkest value.

    Args:
        scans: Any number.

    Returns:
        (n, facts): an anatomy that fills the middle plays no part in it.
    """
    rows = []
    for row in range(len(scans)):
        image = scans.batch([row])[0].numpy()
        faces = [np.take(image, at, axis=axis) for axis in range(1, image.ndim) for at in (0, -1)]
        rows.append([*(f(face) for face in faces for f in (np.mean, np.std)), float(np.mean(image == image.min()))])
    return np.array(rows, dtype=float)


def permuted_groups(scans: Scans, seed: int) -> Scans:
    """The same scans with the groups dealt anew among subjects.

    Args:
        scans: Of two groups.
        seed: Of the deal.

    Returns:
        Scans whose groups mean nothing.
    """
    names = sorted(set(scans.subjects))
    group = dict(zip(scans.subjects, np.asarray(scans.is_diseased, dtype=bool), strict=True))
    dealt = dict(zip(names, keyed_generator(seed, "permuted groups").permutation([group[name] for name in names]), strict=True))
    return replace(scans, is_diseased=np.array([dealt[subject] for subject in scans.subjects], dtype=bool))


def _overlap(scans: Scans, training: FloatArray) -> Check:
    sides = [{s for s, keep in zip(scans.subjects, mask, strict=True) if keep} for mask in (training, ~training)]
    both = sorted(sides[0] & sides[1])
    return Check(
        "subjects on both sides", not both, f"{len(both)} {both[:3]}" if both else "none", "scores of held-out scans are void"
    )


def _duplicates(scans: Scans) -> Check:
    pairs = near_duplicates(scans)
    return Check(
        "near-duplicates of different subjects", not pairs, f"{len(pairs)} {pairs[:2]}" if pairs else "none", "one subject twice"
    )


def _sites(scans: Scans) -> Check:
    found = cramers_v(scans.sites, scans.subjects, scans.is_diseased)
    return Check("site and group", not found.is_too_much, str(found), f"above {MOST_CONFOUNDED} the contrast is one of sites")


def _borders(scans: Scans, training: FloatArray) -> Check:
    facts, groups = border_facts(scans), np.asarray(scans.is_diseased).astype(float)
    fitted = training if training.any() and not training.all() else np.arange(len(scans)) % 2 == 0
    try:
        probe = probe_attribute(facts[fitted], groups[fitted], facts[~fitted], groups[~fitted], kind="classes")
    except ValueError as error:
        return Check("group from the border of the field", True, f"not asked: {error}", "padding or cropping tells the group")
    return Check(
        "group from the border of the field",
        probe.score <= MOST_BORDER_ACCURACY,
        f"balanced accuracy {probe.score:.2f}",
        "padding or cropping tells the group",
    )


def _dependence(scans: Scans, spaces: Spaces, training: FloatArray, seed: int) -> list[Check]:
    diseased = np.asarray(scans.is_diseased, dtype=bool)
    rows = diseased & ~training if (diseased & ~training).sum() >= 8 else diseased
    c, s = (torch.from_numpy(standardised(space[rows])).double() for space in (spaces.common, spaces.salient))
    p = permutation_p_value(c, s, n=N_PERMUTATIONS, seed=seed)
    fit = diseased & training if (diseased & training).sum() >= 8 else rows
    r2 = shared_variance((spaces.common[fit], spaces.salient[fit]), (spaces.common[rows], spaces.salient[rows]))
    return [
        Check(
            "salient space predicted from the common one", r2 <= MOST_SHARED_VARIANCE, f"R2 {r2:.2f}", "salient repeats common"
        ),
        Check(
            "kernel mutual information", p > 1 / N_PERMUTATIONS or r2 <= MOST_SHARED_VARIANCE, f"p {p:.3f}", "the spaces depend"
        ),
    ]


def _common_attributes(scans: Scans, spaces: Spaces, training: FloatArray) -> list[Check]:
    """Age, sex and whatever else is known of the healthy too, from the salient space of all scans: it should not know them."""
    fitted = training if training.any() and not training.all() else np.arange(len(scans)) % 2 == 0
    checks = []
    for name in (name for name in scans.attributes if is_shared(scans, name)):
        known = np.asarray(scans.attributes[name])
        try:
            probe = probe_attribute(spaces.salient[fitted], known[fitted], spaces.salient[~fitted], known[~fitted])
        except ValueError:
            continue
        found = f"{probe.score:.2f} (chance {probe.chance:.2f}, {probe.kind})"
        checks.append(Check(f"{name} from the salient space", probe.scaled <= MOST_KNOWN, found, f"the score depends on {name}"))
    return checks


def _null_run(
    name: str, scans: Scans, training: FloatArray, recipe: Mapping[str, Any], steps: int, seed: int, device: torch.device
) -> Check:
    """Train where there is nothing to find: held-out scores must not tell the groups."""
    here, there = scans.part(training), scans.part(~training)
    chosen = recipe["recipe"]
    with tempfile.TemporaryDirectory() as folder:
        network, _, _ = fit_branches(
            here,
            RunFolder(Path(folder)),
            network=recipe["network"],
            weights=weights_of(recipe["loss"]),
            independence=Independence(**chosen["independence"]),
            views=Views(**{**chosen["views"], "flip": tuple(chosen["views"]["flip"])}),
            training={**chosen["training"], "max_steps": steps, "max_minutes": None},
            sampling={**chosen["sampling"], "match_sites": False},
            device=device,
            seed=seed,
        )
    finish_network(network, here, erase=False, seed=seed, device=device)
    score = embed(network, there, device=device).score
    groups = np.asarray(there.is_diseased, dtype=bool)
    area, low, high = area_with_interval(score, groups, there.subjects, seed=seed)
    nothing = bool(low <= 0.5 <= high) or not np.isfinite(area)
    return Check(name, nothing, f"area {area:.2f} [{low:.2f}, {high:.2f}]", "the score tells groups that mean nothing")


def _halves(scans: Scans) -> FloatArray:
    order = {subject: number for number, subject in enumerate(sorted(set(scans.subjects)))}
    return np.array([order[subject] % 2 == 0 for subject in scans.subjects], dtype=bool)
