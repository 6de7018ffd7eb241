"""Train both branches on scans, wherever they come from: a manifest, a bench in memory, a permuted cohort of the audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from pipelines.cohort_contrast.module import Independence, SeparationModule
from pipelines.cohort_contrast.network import TwoBranches, build_network
from pipelines.cohort_contrast.scans import MatchedBatches, ScanDataset, Scans, scan_loader
from pipelines.cohort_contrast.views import Views
from pipelines.cohort_contrast.weights import Weights
from segsuite.engines.budget import budget_of
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.schedules import learning_rate_factor, make_optimiser
from segsuite.engines.training import fit
from segsuite.errors import ManifestError, closest_hint
from segsuite.shapes import FloatArray

__all__ = ["fit_branches", "scaled_attributes"]

Tell = Callable[..., None]


def fit_branches(
    scans: Scans,
    run: RunFolder,
    *,
    network: Mapping[str, Any],
    weights: Weights,
    independence: Independence,
    views: Views,
    training: Mapping[str, Any],
    sampling: Mapping[str, Any],
    attributes: tuple[str, ...] = (),
    device: torch.device,
    precision: torch.dtype = torch.float32,
    workers: int = 0,
    seed: int,
    tell: Tell | None = None,
    start: Mapping[str, Any] | None = None,
) -> tuple[TwoBranches, float, int]:
    """Train; resumes where the run has a checkpoint.

    Args:
        scans: To train on.
        run: Where checkpoints and history go.
        network: Arguments of ``build_network``.
        weights: Of the terms.
        independence: What keeps the spaces apart.
        views: Random changes.
        training: The settings group ``training`` as plain values.
        sampling: The settings group ``sampling`` as plain values.
        attributes: That the salient dimensions must carry.
        device: Where.
        precision: Of the convolutions.
        workers: Loader processes.
        seed: The run's seed.
        tell: Told how far it is.
        start: Weights to start from.

    Returns:
        The network, minutes and steps.

    Raises:
        ManifestError: Too few subjects, or an attribute that nobody has.
    """
    torch.manual_seed(seed)
    built = build_network(network)
    if start is not None:
        built.load_state_dict(start)
    known, is_class = scaled_attributes(scans, attributes)

    module = SeparationModule(
        built,
        weights=weights,
        independence=independence,
        views=views,
        memory_rows=sampling["memory_rows"],
        attribute_is_class=is_class,
        optimiser=_optimiser(training),
        schedule=partial(learning_rate_factor, schedule=training["schedule"], warmup=training["warmup"]),
        seed=seed,
    )
    batches = MatchedBatches(
        scans,
        batch_size=sampling["batch_size"],
        steps_per_epoch=training["steps_per_epoch"],
        seed=seed,
        match_sites=sampling["match_sites"],
    )
    minutes = fit(
        module,
        scan_loader(ScanDataset(scans, known if attributes else None), batches, workers=workers),
        None,
        run,
        budget=budget_of(training),
        device=device,
        precision=precision,
        seed=seed,
        clip_norm=training["clip_norm"],
        on_progress=None if tell is None else lambda step, share, numbers: tell(f"training, step {step}", share, **numbers),
    )
    return module.network.cpu(), minutes, int(module.global_step)


def scaled_attributes(scans: Scans, names: tuple[str, ...]) -> tuple[FloatArray, tuple[bool, ...]]:
    """Attributes of the diseased scaled to [0, 1]; texts become classes in alphabetic order.

    Args:
        scans: To train on.
        names: Which.

    Returns:
        (n, K) with ``nan`` where unknown, and which are classes.

    Raises:
        ManifestError: An attribute that no diseased subject has.
    """
    columns, is_class = [], []
    for name in names:
        values = scans.attributes.get(name)
        if values is None:
            raise ManifestError(f"`attributes` must be in the manifest, got `{name}`. {closest_hint(name, scans.attributes)}")
        discrete = values.dtype.kind not in "f"
        if discrete:
            order = {text: number for number, text in enumerate(sorted({*values.tolist()} - {""}))}
            values = np.array([order.get(text, np.nan) for text in values.tolist()], dtype=float)
        seen = values[np.asarray(scans.is_diseased) & ~np.isnan(values)]
        if len(seen) < 2:
            raise ManifestError(f"The attribute `{name}` must be known of at least two diseased scans, got {len(seen)}.")
        columns.append((values - seen.min()) / max(float(np.ptp(seen)), 1e-9))
        is_class.append(discrete)
    return np.stack(columns, axis=1) if columns else np.zeros((len(scans), 0)), tuple(is_class)


def _optimiser(training: Mapping[str, Any]) -> Callable[[torch.nn.Module], torch.optim.Optimizer]:
    kind, rate, decay = (training[key] for key in ("optimiser", "learning_rate", "weight_decay"))
    return lambda module: make_optimiser(module.parameters(), kind=kind, learning_rate=rate, weight_decay=decay)
