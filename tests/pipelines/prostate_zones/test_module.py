from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.prostate_zones.module import SecondStage, ZoneModule
from pipelines.prostate_zones.network import AUXILIARY, FusedZones, ZoneNetwork
from segsuite.data.augmentation import IntensityAugmentation
from segsuite.data.cache import PreparedCase
from segsuite.data.manifest import Case
from segsuite.engines.inference import WindowInference
from segsuite.volumes.distances import signed_distance_mm

SIZE = (16, 16, 8)
NAMES = {1: "pz", 2: "tz", 3: "dpu", 4: "afs"}


def zones() -> np.ndarray:
    label = np.zeros(SIZE, dtype=np.int64)
    label[3:13, 3:13, 1:7] = 1
    label[5:11, 6:11, 3:7] = 2
    label[7:9, 4:6, 1:4] = 3
    label[5:11, 11:13, 2:7] = 4
    return label


def batch(n: int = 1) -> dict[str, Tensor]:
    label = torch.from_numpy(zones())[None].repeat(n, 1, 1, 1)
    noise = 0.05 * torch.randn(n, *SIZE, generator=torch.Generator().manual_seed(0))
    distances = np.stack([signed_distance_mm(zones() == zone, (1.0, 1.0, 3.0), limit_mm=24) for zone in NAMES])
    return {
        "image": (label.float() / 4 + noise)[:, None],
        "label": label,
        "labelled": torch.ones(n, 5, dtype=torch.bool),
        "distances": torch.from_numpy(distances)[None].repeat(n, 1, 1, 1, 1),
        "index": torch.arange(n),
    }


def prepared(folder: Path, label: np.ndarray) -> PreparedCase:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "image.npy", (label / 4).astype(np.float32)[None])
    np.save(folder / "label.npy", label.astype(np.int8))
    return PreparedCase(Case(image="a.nii.gz", label="b.nii.gz"), folder)


def module(progress: float = 0.0, guard: list[PreparedCase] | None = None, **more: object) -> ZoneModule:
    torch.manual_seed(0)
    network = ZoneNetwork(
        in_channels=1,
        branches=[[1, 2, 3], [1, 2, 4]],
        channels=(8, 16, 24),
        strides=[(2, 2, 1), (2, 2, 2)],
        norm="instance",
        dropout=0.0,
        share_encoder=bool(more.pop("share_encoder", True)),
        auxiliary=[task for task in AUXILIARY if task in (more.get("auxiliary") or {})],
    )
    arguments = {
        "shares": [0.6, 0.2, 0.1, 0.02, 0.08],
        "auxiliary": {},
        "second_stage": SecondStage(share=0.5),
        "loss": "zone",
        "learned_weights": False,
        "augmentation": IntensityAugmentation().scaled(0, mirror_axes=()),
        "guard_cases": guard or [],
        "optimiser": lambda net: torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 5e-3),
        "schedule": lambda share: 1 - share,
        "average_decay": 0.5,
        "windows": WindowInference(patch_size=SIZE, n_classes=5, gives_probabilities=True, n_extra=1),
        "structures": NAMES,
        "seed": 0,
        **more,
    }
    made = ZoneModule(FusedZones(network), **arguments)
    made.log = lambda *args, **kwargs: None  # no trainer here
    made.clock = SimpleNamespace(progress=lambda step: made.progress)
    made.progress = progress
    return made


def test_stage_one_has_no_agreement_and_stage_two_begins_softly() -> None:
    """Invariant 18."""
    one = module()
    assert one.stage == 1
    assert [one.agreement_weight(p) for p in (0, 0.4, 0.9)] == [0, 0, 0]
    one.stage_2_start.fill_(0.5)
    assert one.stage == 2
    assert one.agreement_weight(0.5) == 0
    assert 0 < one.agreement_weight(0.55) < 1
    assert one.agreement_weight(0.6) == one.agreement_weight(1.0) == 1


def test_learning_rate_of_both_stages() -> None:
    one = module()
    assert [one.learning_rate_share(p) for p in (0, 0.25, 0.7)] == [1, 0.5, 0.1]
    one.stage_2_start.fill_(0.5)
    assert [one.learning_rate_share(p) for p in (0.5, 0.75, 1)] == pytest.approx([0.1, 0.05, 0])


def test_stage_two_waits_for_every_zone_and_starts_from_the_average(tmp_path: Path) -> None:
    guard = [prepared(tmp_path / "case", zones())]
    made = module(progress=0.4, guard=guard)
    made.on_train_epoch_start()
    assert made.stage == 1  # not yet time
    made.progress = 0.6
    made.segment = lambda case: np.roll(zones(), 4, axis=2).astype(np.uint8)  # zones are there, but not where they belong
    assert "dpu" in made.lost_zones()
    made.on_train_epoch_start()
    assert made.stage == 1
    made.segment = lambda case: zones().astype(np.uint8)
    assert made.lost_zones() == []
    torch.nn.init.ones_(made.average.module.network.heads[0].bias)
    made.on_train_epoch_start()
    assert made.stage == 2
    assert float(made.stage_2_start) == pytest.approx(0.6)
    assert made.zone_network.heads[0].bias.tolist() == [1, 1, 1, 1]
    assert float(made.state_dict()["stage_2_start"]) == pytest.approx(0.6)  # a resumed run is in the same stage


def test_zone_that_guard_cases_lack_is_not_waited_for(tmp_path: Path) -> None:
    label = np.where(zones() == 4, 1, zones())
    made = module(guard=[prepared(tmp_path / "case", label)])
    made.segment = lambda case: label.astype(np.uint8)
    assert made.lost_zones() == []


def test_no_second_stage_without_a_share() -> None:
    made = module(progress=1.0, second_stage=SecondStage(share=0))
    made.on_train_epoch_start()
    assert made.stage == 1


@pytest.mark.parametrize("task", AUXILIARY)
def test_every_auxiliary_task_teaches_its_head(task: str) -> None:
    made = module(auxiliary={task: 0.5})
    loss = made.training_step(batch(2), 0)
    loss.backward()
    heads = {"sdm": "sdm_heads", "gland": "gland_heads", "presence": "presence_heads", "recon": "recon_decoders"}
    parameters = list(getattr(made.zone_network, heads[task]).parameters())
    assert parameters
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)


def test_weighted_sum_of_terms() -> None:
    made = module(auxiliary={"sdm": 0.5, "gland": 0.25})
    torch.manual_seed(1)
    data = batch()
    terms = made.loss_terms(made.zone_network(data["image"]), data)
    expected = terms["zones"] + 0.5 * terms["sdm"] + 0.25 * terms["gland"]
    torch.testing.assert_close(made.training_step(data, 0), expected)


def test_learned_weights_are_trained() -> None:
    made = module(auxiliary={"sdm": 0.5}, learned_weights=True)
    made.training_step(batch(), 0).backward()
    assert made.weights.log_variances.grad.abs().min() > 0
    assert any(p is made.weights.log_variances for group in made.configure_optimizers().param_groups for p in group["params"])


def test_unlabelled_samples_count_in_stage_two_only() -> None:
    data = batch(2)
    data["label"][1] = -1
    made = module()
    assert len(made._useful(data)["image"]) == 1
    alone = {name: tensor[:1] for name, tensor in data.items()}
    torch.testing.assert_close(made.training_step(data, 0), made.training_step(alone, 0))
    made.stage_2_start.fill_(0.5)
    made.progress = 1.0
    assert len(made._useful(data)["image"]) == 2
    assert not torch.allclose(made.training_step(data, 0), made.training_step(alone, 0))
    only = {name: tensor[1:] for name, tensor in data.items()}
    made.training_step(only, 0).backward()
    assert all(torch.isfinite(p.grad).all() for p in made.zone_network.parameters() if p.grad is not None)


def test_partly_labelled_samples_teach_no_surface_of_what_is_hidden() -> None:
    made = module(auxiliary={"sdm": 1.0, "gland": 1.0})
    data = batch()
    data["labelled"][:, 3:] = False
    terms = made.loss_terms(made.zone_network(data["image"]), data)
    assert float(terms["sdm"].detach()) == 0
    assert float(terms["zones"].detach()) > 0


def test_second_view_only_with_own_encoders_in_stage_two() -> None:
    augmentation = IntensityAugmentation(brightness=1.0).scaled(1.0, mirror_axes=())
    shared, own = (module(share_encoder=share, augmentation=augmentation) for share in (True, False))
    data = batch()
    assert own._second_view(data, 0) is None
    for made in (shared, own):
        made.stage_2_start.fill_(0.5)
    assert shared._second_view(data, 0) is None
    assert not torch.equal(own._second_view(data, 0), data["image"])


def test_meyer_loss_can_be_chosen() -> None:
    data = batch()
    assert not torch.allclose(module(loss="meyer").training_step(data, 0), module().training_step(data, 0))


@pytest.mark.slow
def test_overfits_one_case_in_all_zones() -> None:
    """Invariant 23: Dice above 0.95 of every zone in fewer than 300 steps, the small ones too, through both stages."""
    made = module()
    made.on_train_epoch_start()
    optimiser = made.configure_optimizers()
    data = batch()
    for step in range(280):
        made.progress = step / 280
        if step == 200:
            made.stage_2_start.fill_(made.progress)
        loss = made.training_step(data, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        made.on_train_batch_end(None, data, step)
    with torch.no_grad():
        found = made.average.module.eval()(data["image"])[:, :5].argmax(1)
    for zone in NAMES:
        a, b = found == zone, data["label"] == zone
        assert float(2 * (a & b).sum() / (a.sum() + b.sum())) > 0.95, NAMES[zone]
