"""Small versions of published networks, from configurations and with random weights, and how they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

__all__ = ["NETWORKS", "Network"]


@dataclass(frozen=True)
class Network:
    """A published network.

    Attributes
    ----------
    name, library : str
    make : callable
        Makes the network.
    maps : callable
        Takes its output; returns the maps that its authors use.
    source : str
        Expected `seg.reading.source`.
    align : {"same", "resize"}
    write : str
        What a user writes: `Segmenter(model, WRITE)`.
    """

    name: str
    library: str
    make: Callable[[], nn.Module]
    maps: Callable[[Any], Any]
    source: str = ""
    align: str = "same"
    write: str = "target=1"


SWIN = {
    "image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip


def segformer():
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(
        SegformerConfig(
            num_labels=5, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 4],
            decoder_hidden_size=16,
        )
    )  # fmt: skip


def upernet():
    from transformers import ConvNextConfig, UperNetConfig, UperNetForSemanticSegmentation

    backbone = ConvNextConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    return UperNetForSemanticSegmentation(
        UperNetConfig(backbone_config=backbone, hidden_size=16, num_labels=5, use_auxiliary_head=False)
    )


def mask2former():
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    return Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(
            backbone_config=SwinConfig(**SWIN), num_labels=5, hidden_dim=32, feature_size=32, mask_feature_size=32,
            encoder_layers=1, decoder_layers=2, num_attention_heads=2, encoder_feedforward_dim=16, dim_feedforward=16,
            num_queries=6,
        )
    )  # fmt: skip


def maskformer():
    from transformers import DetrConfig, MaskFormerConfig, MaskFormerForInstanceSegmentation, SwinConfig

    decoder = DetrConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=6,
    )  # fmt: skip
    return MaskFormerForInstanceSegmentation(
        MaskFormerConfig(
            backbone_config=SwinConfig(**SWIN), decoder_config=decoder, num_labels=5, fpn_feature_size=32,
            mask_feature_size=32,
        )
    )  # fmt: skip


def dynunet():
    from monai.networks.nets import DynUNet

    return DynUNet(
        2, 3, 5, [3, 3, 3, 3], [1, 2, 2, 2], [2, 2, 2], filters=[4, 8, 8, 8], deep_supervision=True, deep_supr_num=2
    )


def basic_unet_plus_plus(**options):
    from monai.networks.nets import BasicUNetPlusPlus

    return BasicUNetPlusPlus(2, 3, 5, features=(4, 4, 8, 8, 8, 4), **options)


def segresnet():
    from monai.networks.nets import SegResNet

    return SegResNet(2, 8, 3, 5)


def segresnet_vae():
    from monai.networks.nets import SegResNetVAE

    return SegResNetVAE((64, 96), 8, spatial_dims=2, in_channels=3, out_channels=5, init_filters=8)


def attention_unet():
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 3, 5, (4, 8, 8), (2, 2))


def itself(output):
    return output


def logits(output):
    return output.logits


COMBINED = "classes and masks of queries, combined"


def of_queries(output):
    """The sum over queries, written out."""
    scores = output.class_queries_logits.softmax(-1)[..., :-1]
    masks = output.masks_queries_logits.sigmoid()
    return sum(scores[:, query, :, None, None] * masks[:, query, None] for query in range(scores.shape[1]))


NETWORKS = [
    Network("SegFormer", "transformers", segformer, logits, "the attribute 'logits'", "resize"),
    Network("UperNet", "transformers", upernet, logits, "the attribute 'logits'"),
    Network("Mask2Former", "transformers", mask2former, of_queries, COMBINED, "resize"),
    Network("MaskFormer", "transformers", maskformer, of_queries, COMBINED, "resize"),
    Network("DynUNet with deep supervision", "monai", dynunet, itself),
    Network("BasicUNetPlusPlus", "monai", basic_unet_plus_plus, lambda output: output[0], "the only entry"),
    Network(
        "BasicUNetPlusPlus with deep supervision", "monai", lambda: basic_unet_plus_plus(deep_supervision=True),
        lambda output: output[3], "entry -1", write="target=1, output=-1",
    ),
    Network("SegResNet", "monai", segresnet, itself),
    Network("SegResNetVAE", "monai", segresnet_vae, lambda output: output[0], "entry 0 of 2"),
    Network("AttentionUnet", "monai", attention_unet, itself),
]  # fmt: skip
