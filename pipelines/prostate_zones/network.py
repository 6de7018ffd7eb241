"""The zone network: an anisotropic encoder and one decoder per branch; several branches are fused into one set of zones.

One branch is the baseline of Meyer et al., ISBI 2019. Two branches follow the idea in the abstract of Das, Ghosh and
Stober 2023 (arXiv:2309.12970), each covering zones that touch; how they share and fuse is our own reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.prostate_zones.fusion import disagreement, fuse_branches, shared_zones
from segsuite.errors import SettingsError
from segsuite.networks.convolution import Convolution3d
from segsuite.networks.normalisation import InstanceNorm
from segsuite.shapes import Size

__all__ = ["AUXILIARY", "FusedZones", "ZoneNetwork", "ZoneOutput", "build_network"]

AUXILIARY = ("sdm", "gland", "recon", "presence")
RECONSTRUCTION_CHANNELS = 8


@dataclass
class ZoneOutput:
    """What the network gives in training. Lists have one entry per branch.

    Attributes:
        logits: (batch, 1 + zones of the branch, *space); channel 0 is the rest: background and the other branches' zones.
        sdm: Signed distances (batch, zones of the branch, *space) in (-1, 1); empty without that head.
        gland: Logit of the whole gland at the coarsest decoder level (batch, 1, ...); empty without that head.
        presence: Logit per zone and slice (batch, zones of the branch, k); empty without that head.
        recon: Reconstructed images (batch, channels, *space); empty without that head.
    """

    logits: list[Tensor]
    sdm: list[Tensor] = field(default_factory=list)
    gland: list[Tensor] = field(default_factory=list)
    presence: list[Tensor] = field(default_factory=list)
    recon: list[Tensor] = field(default_factory=list)


class ZoneNetwork(nn.Module):
    """Encoder, bottleneck and decoder per branch.

    With channels (32, 64, 128, 256), batch norm and one branch of four zones it is the network of Meyer et al. with its
    6 098 245 parameters. Source: Meyer et al., ISBI 2019, doi:10.1109/ISBI.2019.8759334 (baseline).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        branches: Sequence[Sequence[int]],
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        norm: str,
        dropout: float,
        flat_stages: int = 0,
        share_encoder: bool = True,
        auxiliary: Sequence[str] = (),
    ) -> None:
        """Build.

        Args:
            in_channels: Image channels.
            branches: Class indices of each branch's zones, counted from 1.
            channels: Feature channels per stage, finest first, even.
            strides: Pooling between stages, one less than the stages.
            norm: ``batch``, ``instance`` or ``group``.
            dropout: Before the second convolution of the bottleneck and of each decoder stage.
            flat_stages: So many of the finest stages convolve within slices only.
            share_encoder: One encoder for all branches; otherwise each branch is a whole network.
            auxiliary: Which of ``sdm``, ``gland``, ``recon``, ``presence`` are trained beside the zones.

        Raises:
            SettingsError: Branches that share no zone, list of other lengths, unknown auxiliary task.
        """
        super().__init__()
        shared_zones(branches)
        if len(strides) != len(channels) - 1:
            raise SettingsError(f"There must be one stride between stages, got {len(channels)} stages, {len(strides)} strides.")
        if unknown := set(auxiliary) - set(AUXILIARY):
            raise SettingsError(f"Auxiliary tasks must be among {AUXILIARY}, got {sorted(unknown)}.")
        self.branches = tuple(tuple(branch) for branch in branches)
        self.share_encoder = share_encoder
        n_encoders = 1 if share_encoder else len(branches)
        stages = _Stages(tuple(channels), tuple((s[0], s[1], s[2]) for s in strides), norm, dropout, flat_stages)
        self.encoders = nn.ModuleList(_Encoder(in_channels, stages) for _ in range(n_encoders))
        self.decoders = nn.ModuleList(_Decoder(stages) for _ in branches)
        width = channels[0]
        self.heads = nn.ModuleList(nn.Conv3d(width, 1 + len(branch), 1) for branch in branches)
        zones = [len(branch) for branch in branches]
        self.sdm_heads = nn.ModuleList(nn.Conv3d(width, n, 1) for n in zones if "sdm" in auxiliary)
        self.gland_heads = nn.ModuleList(nn.Conv3d(channels[-2], 1, 1) for _ in zones if "gland" in auxiliary)
        self.presence_heads = nn.ModuleList(nn.Conv1d(2 * width, n, 1) for n in zones if "presence" in auxiliary)
        self.recon_decoders = nn.ModuleList(
            _Reconstruction(channels[-1], in_channels, stages.strides) for _ in range(n_encoders) if "recon" in auxiliary
        )
        self.apply(_initialise)

    @property
    def zones(self) -> tuple[int, ...]:
        """All class indices, ascending."""
        return tuple(sorted({zone for branch in self.branches for zone in branch}))

    def forward(self, image: Tensor, *, second_view: Tensor | None = None) -> ZoneOutput:
        """All heads.

        Args:
            image: (batch, in_channels, i, j, k); each size a multiple of the product of the strides.
            second_view: The same geometry with other intensities, for the branches after the first; only where each has
                an encoder of its own.

        Returns:
            Logits and auxiliary outputs.
        """
        views = [image if n == 0 or second_view is None else second_view for n in range(len(self.encoders))]
        encoded = [encoder(view) for encoder, view in zip(self.encoders, views, strict=True)]
        output = ZoneOutput([])
        for number, (decoder, head) in enumerate(zip(self.decoders, self.heads, strict=True)):
            coarsest, finest = decoder(encoded[0 if self.share_encoder else number])
            output.logits.append(head(finest))
            if self.sdm_heads:
                output.sdm.append(torch.tanh(self.sdm_heads[number](finest)))
            if self.gland_heads:
                output.gland.append(self.gland_heads[number](coarsest))
            if self.presence_heads:
                pooled = torch.cat([finest.mean(dim=(2, 3)), finest.amax(dim=(2, 3))], dim=1)
                output.presence.append(self.presence_heads[number](pooled))
        output.recon = [
            decoder(levels[-1], image.shape[2:]) for decoder, levels in zip(self.recon_decoders, encoded, strict=False)
        ]
        return output

    def start_from_prior(self, shares: dict[int, float]) -> None:
        """Set the heads' biases so that the untrained softmax gives each zone its share of the voxels.

        Args:
            shares: Class index to share, each in (0, 1), together below 1.

        Source: Lin et al., ICCV 2017, arXiv:1708.02002, section 4.1 (prior probability), for a softmax.
        """
        with torch.no_grad():
            for head, branch in zip(self.heads, self.branches, strict=True):
                prior = torch.tensor([1 - sum(shares[zone] for zone in branch), *(shares[zone] for zone in branch)])
                cast(nn.Conv3d, head).bias.copy_(prior.clamp_min(1e-4).log())  # type: ignore[union-attr]


class FusedZones(nn.Module):
    """A zone network as prediction applies it: fused probabilities of all classes and, last, the uncertainty."""

    def __init__(self, network: ZoneNetwork) -> None:
        """Wrap.

        Args:
            network: The network.
        """
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities and uncertainty.

        Args:
            image: (batch, channels, i, j, k).

        Returns:
            (batch, 1 + zones + 1, i, j, k): background, zones in ascending order, uncertainty in [0, 1]: of several
            branches half the disagreement about the zones that they share, of one the entropy relative to its maximum.
        """
        branches = self.network.branches
        probabilities = [logits.float().softmax(dim=1) for logits in self.network(image).logits]
        fused = fuse_branches(probabilities, branches)
        if len(branches) == 1:
            entropy = torch.special.entr(fused).sum(dim=1, keepdim=True)
            doubt = entropy / torch.log(torch.tensor(float(fused.shape[1])))
        else:
            doubt = disagreement(probabilities, branches)
        return torch.cat([fused, doubt], dim=1)


def build_network(arguments: dict[str, Any]) -> FusedZones:
    """A network with fresh weights, ready for prediction.

    Args:
        arguments: Of ``ZoneNetwork``, from ``model.json``.

    Returns:
        The network; ``.network`` is what is trained.
    """
    return FusedZones(ZoneNetwork(**arguments))


@dataclass(frozen=True)
class _Stages:
    channels: tuple[int, ...]
    strides: tuple[Size, ...]
    norm: str
    dropout: float
    flat: int

    def kernel(self, stage: int) -> Size:
        return (3, 3, 1) if stage < self.flat else (3, 3, 3)


class _Convolution(nn.Sequential):
    """Convolution, ReLU, norm: the order of Meyer et al."""

    def __init__(self, in_channels: int, out_channels: int, stage: int, stages: _Stages) -> None:
        i, j, k = stages.kernel(stage)
        convolution = Convolution3d(in_channels, out_channels, (i, j, k), padding=(i // 2, j // 2, k // 2))
        super().__init__(convolution, nn.ReLU(inplace=True), _norm(stages.norm, out_channels))


class _Encoder(nn.Module):
    def __init__(self, in_channels: int, stages: _Stages) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        before = in_channels
        for stage, width in enumerate(stages.channels[:-1]):
            blocks.append(
                nn.Sequential(_Convolution(before, width // 2, stage, stages), _Convolution(width // 2, width, stage, stages))
            )
            before = width
        last, width = len(stages.channels) - 1, stages.channels[-1]
        blocks.append(
            nn.Sequential(
                _Convolution(before, width, last, stages), nn.Dropout(stages.dropout), _Convolution(width, width, last, stages)
            )
        )
        self.blocks = nn.ModuleList(blocks)
        self.pools = nn.ModuleList(nn.MaxPool3d(stride, stride) for stride in stages.strides)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features per stage, finest first."""
        levels = [self.blocks[0](image)]
        for pool, block in zip(self.pools, self.blocks[1:], strict=True):
            levels.append(block(pool(levels[-1])))
        return levels


class _Decoder(nn.Module):
    def __init__(self, stages: _Stages) -> None:
        super().__init__()
        ups, blocks = [], []
        for stage in reversed(range(len(stages.strides))):
            above, width, stride = stages.channels[stage + 1], stages.channels[stage], stages.strides[stage]
            # a kernel of 2 on every axis, also where the stride is 1: one slice more comes out, which is cut off
            ups.append(nn.Sequential(nn.ConvTranspose3d(above, above, 2, stride), nn.ReLU(inplace=True)))
            blocks.append(
                nn.Sequential(
                    _Convolution(above + width, width, stage, stages),
                    nn.Dropout(stages.dropout),
                    _Convolution(width, width, stage, stages),
                )
            )
        self.ups, self.blocks = nn.ModuleList(ups), nn.ModuleList(blocks)

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Features of the coarsest and of the finest decoder level."""
        now, outputs = levels[-1], []
        for up, block, skip in zip(self.ups, self.blocks, reversed(levels[:-1]), strict=True):
            i, j, k = skip.shape[2:]
            now = block(torch.cat([up(now)[:, :, :i, :j, :k], skip], dim=1))
            outputs.append(now)
        return outputs[0], outputs[-1]


class _Reconstruction(nn.Module):
    """A light decoder without skips: what the bottleneck knows of the image."""

    def __init__(self, in_channels: int, out_channels: int, strides: Sequence[Size]) -> None:
        super().__init__()
        self.narrow = nn.Conv3d(in_channels, RECONSTRUCTION_CHANNELS, 1)
        self.smooth = nn.ModuleList(
            Convolution3d(RECONSTRUCTION_CHANNELS, RECONSTRUCTION_CHANNELS, 3, padding=1) for _ in strides
        )
        self.last = nn.Conv3d(RECONSTRUCTION_CHANNELS, out_channels, 1)
        self.strides = tuple(strides)

    def forward(self, bottleneck: Tensor, size: Sequence[int]) -> Tensor:
        now = self.narrow(bottleneck)
        for stride, smooth in zip(reversed(self.strides), self.smooth, strict=True):
            now = F.relu(smooth(F.interpolate(now, scale_factor=tuple(map(float, stride)), mode="nearest")))
        return cast(Tensor, self.last(now)[:, :, : size[0], : size[1], : size[2]])


def _norm(name: str, channels: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm3d(channels)
    if name == "instance":
        return InstanceNorm(channels)
    if name == "group":
        return nn.GroupNorm(next(n for n in (8, 4, 2, 1) if channels % n == 0), channels)
    raise SettingsError(f"The norm must be batch, instance or group, got `{name}`.")


def _initialise(module: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, the default of the baseline's framework."""
    if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d, nn.Conv1d)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
