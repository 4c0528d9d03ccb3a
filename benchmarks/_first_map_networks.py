"""Networks with global operations, or with windows nearly as large as the image, trained on aerial scenes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdm_widgets.data import AerialScenes
from hdm_widgets.metrics import iou
from hdm_widgets.models.training import train

OUT = Path(__file__).parent / "out" / "first_maps"
# Seeds of the scenes: what networks are trained on, and one of which is explained.
_TRAINING, _EXPLAINED = 3, 11
_IMAGES, _SIDE, _EPOCHS = 160, 128, 5
# The scene that the network knows best, of those where so much of the image is segment.
_SCENES, _SEGMENT = 16, (0.03, 0.4)


class Gate(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, channels: int, squeezed: int, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, squeezed, 1), activation(),
            nn.Conv2d(squeezed, channels, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x * self.layers(x)


def _twice(before: int, after: int, norm: type[nn.Module] = nn.BatchNorm2d, **settings: bool) -> nn.Sequential:
    """Two convolutions."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1), norm(after, **settings), nn.ReLU()]
    return nn.Sequential(*layers)


class GlobalUNet(nn.Module):
    """A U-Net with three poolings whose blocks end with a gate, or have another norm."""

    def __init__(self, block: Callable[[int, int], nn.Module], width: int = 16) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(block(*pair) for pair in zip([3, *sizes], sizes, strict=False))
        coarse_to_fine = list(zip(sizes[:0:-1], sizes[-2::-1], strict=True))
        self.up = nn.ModuleList(block(low + skip, skip) for low, skip in coarse_to_fine)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(low, low, 2, 2) for low, _ in coarse_to_fine)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            skips.append(block(F.max_pool2d(x, 2) if skips else x))
            x = skips[-1]
        for grow, block, skip in zip(self.grow, self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([grow(x), skip], 1))
        return self.head(x)


class _Decoder(nn.Module):
    """From the coarsest map to full size, each map joined with the next finer one."""

    def __init__(self, sizes: list[int], widths: list[int]) -> None:
        super().__init__()
        before = [sizes[-1], *widths]
        self.blocks = nn.ModuleList(
            _twice(low + skip, width) for low, skip, width in zip(before, sizes[-2::-1], widths, strict=False)
        )
        self.last, self.head = _twice(widths[-1], 16), nn.Conv2d(16, 1, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for block, skip in zip(self.blocks, maps[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return self.head(self.last(F.interpolate(x, scale_factor=2.0)))


class _Residual(nn.Module):
    """A basic block of a ResNet."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        same = stride == 1 and before == after
        projection = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Identity() if same else projection

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))


class ResNetUNet(nn.Module):
    """A U-Net over a ResNet-34 with fewer channels."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.stages, before = nn.ModuleList(), width
        for stage, blocks in enumerate((3, 4, 6, 3)):
            after = width << stage
            strides = [2 if stage else 1] + [1] * (blocks - 1)
            parts = [_Residual(before if not each else after, after, stride) for each, stride in enumerate(strides)]
            self.stages.append(nn.Sequential(*parts))
            before = after
        self.decoder = _Decoder([width, width, 2 * width, 4 * width, 8 * width], [4 * width, 2 * width, width, width])

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        x = F.max_pool2d(maps[0], 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return self.decoder(maps)


class _MobileBlock(nn.Module):
    """An inverted bottleneck with a gate, as an EfficientNet has them."""

    def __init__(self, before: int, after: int, stride: int = 1, kernel: int = 3, grown: int = 4) -> None:
        super().__init__()
        inner = grown * before
        depthwise = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False)
        self.layers = nn.Sequential(
            nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.SiLU(),
            depthwise, nn.BatchNorm2d(inner), nn.SiLU(), Gate(inner, max(4, before // 4), nn.SiLU),
            nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after),
        )  # fmt: skip
        self.residual = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class EfficientUNet(nn.Module):
    """A U-Net over a small EfficientNet."""

    def __init__(self) -> None:
        super().__init__()
        block = _MobileBlock
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        self.stages = nn.ModuleList([
            block(16, 16, grown=1),
            nn.Sequential(block(16, 24, 2), block(24, 24)),
            nn.Sequential(block(24, 40, 2, 5), block(40, 40, 1, 5)),
            nn.Sequential(block(40, 80, 2), block(80, 80), block(80, 112, 1, 5)),
        ])  # fmt: skip
        self.decoder = _Decoder([16, 24, 40, 112], [64, 32, 24])

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return self.decoder(maps)


class VisionTransformer(nn.Module):
    """A class token and patches of 8 px through PyTorch's encoder layers, joined with convolutions at full size."""

    def __init__(self, width: int = 96, side: int = 16) -> None:
        super().__init__()
        self.stem, self.patches = _twice(3, 16), nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, width, side, side))
        layers = (
            nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(4)
        )
        self.layers = nn.Sequential(*layers, nn.LayerNorm(width))
        sizes = [width, 48, 32, 16]
        self.up = nn.Sequential(*(
            nn.Sequential(nn.ConvTranspose2d(before, after, 2, 2), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in itertools.pairwise(sizes)
        ))  # fmt: skip
        self.last, self.head = _twice(32, 16), nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x)
        positions = F.interpolate(self.positions, size=patches.shape[-2:], mode="bicubic", align_corners=False)
        tokens = patches.flatten(2).transpose(1, 2) + positions.flatten(2).transpose(1, 2)
        tokens = self.layers(torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1))[:, 1:]
        maps = tokens.transpose(1, 2).reshape(patches.shape)
        return self.head(self.last(torch.cat([self.up(maps), self.stem(x)], 1)))


class _Resized(nn.Module):
    """A model of transformers, whose logits are made as large as the image."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.model(x).logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


def _segformer() -> nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return _Resized(SegformerForSemanticSegmentation(SegformerConfig(num_labels=1)))


class SwinUNet(nn.Module):
    """A decoder over two stages of a small Swin, whose windows are shifted in every other block."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import SwinBackbone, SwinConfig

        config = SwinConfig(
            embed_dim=48, depths=[2, 2], num_heads=[3, 6], window_size=8, drop_path_rate=0.0,
            out_features=["stage1", "stage2"],
        )  # fmt: skip
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.backbone, self.decoder = SwinBackbone(config), _Decoder([24, 48, 96], [48, 24])

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder([self.stem(x), *self.backbone(x).feature_maps])


def _upernet() -> nn.Module:
    from transformers import ConvNextConfig, UperNetConfig, UperNetForSemanticSegmentation

    stages = [f"stage{number}" for number in range(1, 5)]
    backbone = ConvNextConfig(depths=[2, 2, 4, 2], hidden_sizes=[32, 64, 128, 256], out_features=stages)
    config = UperNetConfig(backbone_config=backbone, hidden_size=64, num_labels=1, use_auxiliary_head=False)
    return _Resized(UperNetForSemanticSegmentation(config))


def _dynunet() -> nn.Module:
    from monai.networks.nets import DynUNet

    # As nnU-Net configures it, with fewer channels.
    return DynUNet(
        2, 3, 1, [3] * 5, [1, 2, 2, 2, 2], [2] * 4, filters=[16, 32, 64, 128, 256],
        norm_name=("INSTANCE", {"affine": True}),
        act_name=("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
    )  # fmt: skip


def _segresnet() -> nn.Module:
    from monai.networks.nets import SegResNet

    return SegResNet(2, 8, 3, 1, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1))


def _gated(before: int, after: int) -> nn.Module:
    return nn.Sequential(_twice(before, after), Gate(after, after // 4))


def _normed(before: int, after: int) -> nn.Module:
    return _twice(before, after, nn.InstanceNorm2d, affine=True)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "SE U-Net": lambda: GlobalUNet(_gated),
    "instance norm": lambda: GlobalUNet(_normed),
    "DynUNet": _dynunet,
    "SegResNet": _segresnet,
    "ResNet-34 U-Net": ResNetUNet,
    "EfficientNet-like": EfficientUNet,
    "ViT": VisionTransformer,
    "SegFormer-b0": _segformer,
    "Swin": SwinUNet,
    "UperNet, ConvNeXt": _upernet,
}


def trained(name: str, folder: Path = OUT, epochs: int = _EPOCHS, images: int = _IMAGES) -> nn.Module:
    """A network trained on scenes of 128 px; its weights are kept in a folder and taken from there the next time."""
    torch.manual_seed(0)
    model = NETWORKS[name]()
    kept = folder / f"{name.replace(' ', '_')}_{images}_{epochs}.pt"
    if kept.exists():
        model.load_state_dict(torch.load(kept, weights_only=True))
        return model.eval()
    train(model, AerialScenes(images, size=_SIDE, seed=_TRAINING), epochs=epochs, batch_size=8, progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), kept)
    return model.eval()


def scene(model: nn.Module, size: int) -> tuple[Tensor, float]:
    """A scene, and the IoU of the network on it: the best of those with some segment."""
    scenes = AerialScenes(_SCENES, size=size, seed=_EXPLAINED)
    found = []
    for index in range(_SCENES):
        image, mask = scenes[index]
        truth = np.asarray(mask).astype(bool)
        if _SEGMENT[0] < truth.mean() < _SEGMENT[1]:
            with torch.inference_mode():
                predicted = model(image[None])[0, 0].numpy() > 0
            found.append((iou(predicted, truth), index, image))
    quality, _, image = max(found, key=lambda one: one[:2])
    return image, quality
