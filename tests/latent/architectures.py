"""Small versions of known architectures, and the layer of each that is its bottleneck.

`docs/layer_table.py` writes the table of the page "Which layer" from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import known_decoders
import known_networks
import published_networks
from torch import nn

import hdm_widgets as hw

__all__ = ["ARCHITECTURES", "Architecture"]


@dataclass(frozen=True)
class Architecture:
    """An architecture.

    Attributes
    ----------
    name, library : str
    make : callable
        Makes a small one, with random weights.
    layer : str
        Its bottleneck.
    shape : tuple of int
        Of the bottleneck for an image of 64 x 64 px.
    why : str
        Why this is the deepest feature of the encoder.
    channels : int
        Of the image.
    tokens : int
        Tokens of the bottleneck that stand for no position.
    """

    name: str
    library: str
    make: Callable[[], nn.Module]
    layer: str
    shape: tuple[int, ...]
    why: str
    channels: int = 3
    tokens: int = 0


DEEPEST_STAGE = "The encoder's last stage, from which the decoder starts."
HEAD = "The backbone's last maps; the classifier works at their size and only makes the output."
LAYER4 = HEAD.replace("maps;", "maps, those of layer4;")

ARCHITECTURES = [
    Architecture(
        "U-Net", "hdm_widgets", lambda: hw.UNet(3, 1, width=4, depth=3), "bottleneck", (32, 8, 8),
        "The block at the coarsest level, between the last pooling and the first transposed convolution.",
    ),
    Architecture(
        "U-Net with residual units", "monai", known_networks.unet, "model.1.submodule.1.submodule.1", (48, 8, 8),
        "The deepest block beside its skip, 32 + 16 channels: what the first transposed convolution takes.",
    ),
    Architecture(
        "BasicUNet", "monai", known_networks.basic_unet, "down_4", (32, 4, 4), DEEPEST_STAGE,
    ),
    Architecture(
        "BasicUNetPlusPlus with deep supervision", "monai", known_networks.basic_unet_plus_plus, "conv_4_0",
        (32, 4, 4), "The deepest node of the encoder. Every head counts: the first one alone sees two levels.",
    ),
    Architecture(
        "AttentionUnet", "monai", known_networks.attention_unet,
        "model.1.submodule.1.submodule.1.submodule", (32, 8, 8),
        "The innermost block; its input is the gate of the deepest skip.",
    ),
    Architecture("SegResNet", "monai", known_networks.segresnet, "down_layers.3", (64, 8, 8), DEEPEST_STAGE),
    Architecture(
        "DynUNet with deep supervision", "monai", published_networks.dynunet, "bottleneck", (8, 8, 8),
        "The block of this name, below the last downsampling.",
    ),
    Architecture(
        "V-Net", "monai", known_networks.vnet, "down_tr256", (256, 4, 4), DEEPEST_STAGE, channels=4,
    ),
    Architecture(
        "HighResNet", "monai", known_networks.highresnet, "blocks.9", (64, 64, 64),
        "It never reduces the resolution: the last residual block. The two 1 x 1 convolutions after it are the head.",
    ),
    Architecture(
        "UNETR", "monai", known_networks.UNETR, "vit.norm", (16, 16),
        "The transformer's last tokens, after the norm. The ViT itself returns those of all blocks.",
    ),
    Architecture(
        "SwinUNETR", "monai", known_networks.SwinUNETR, "encoder10", (64, 2, 2),
        "The residual block between the transformer's deepest maps and the first decoder block.",
    ),
    Architecture(
        "SegFormer", "transformers", known_networks.segformer, "segformer", (16, 2, 2),
        "The encoder's last hidden state. The layers of the all-MLP head at that size are decoding.",
    ),
    Architecture(
        "UPerNet with ConvNeXt", "transformers", published_networks.upernet, "backbone.hidden_states_norms.stage4",
        (32, 2, 2), "The backbone's deepest maps, after their norm, as the head takes them; its pooled cells are none.",
    ),
    Architecture(
        "BEiT with UPerNet", "transformers", known_networks.beit, "beit.layers.2", (17, 16),
        "The last block whose tokens are decoded (the library takes each index minus one). The pooled level of its "
        "pyramid has no weights.",
        tokens=1,
    ),
    Architecture(
        "DPT", "transformers", known_networks.dpt, "dpt.encoder", (17, 16),
        "The last tokens of the ViT. The neck, which makes a pyramid of them, is decoding.", tokens=1,
    ),
    Architecture(
        "DINOv2 with a linear head", "transformers", known_networks.DinoWithLinearHead, "backbone", (21, 16),
        "The last tokens, with the class token and four registers, which pooling leaves out.", tokens=5,
    ),
    Architecture(
        "MobileNetV2 with DeepLabV3+", "transformers", known_networks.mobilenet_v2, "mobilenet_v2.layer.15",
        (80, 2, 2), "The last block of the backbone; its 1 x 1 convolution after it is not used, the rest is the head.",
    ),
    Architecture(
        "MobileViT with DeepLabV3", "transformers", known_networks.mobilevit, "mobilevit", (16, 2, 2), HEAD,
    ),
    Architecture(
        "MaskFormer with Swin", "transformers", published_networks.maskformer,
        "model.pixel_level_module.encoder[feature_maps][3]", (64, 2, 2),
        "The backbone's fourth maps, which no module returns alone. Queries are fewer, but no positions.",
    ),
    Architecture(
        "Mask2Former with Swin", "transformers", published_networks.mask2former,
        "model.pixel_level_module.encoder[feature_maps][3]", (64, 2, 2),
        "The backbone's fourth maps, which no module returns alone. The pixel decoder joins them with finer ones.",
    ),
    Architecture("FCN with ResNet", "torchvision", known_decoders.fcn, "backbone", (128, 8, 8), LAYER4),
    Architecture("DeepLabV3 with ResNet", "torchvision", known_decoders.deeplab, "backbone", (128, 8, 8), LAYER4),
    Architecture(
        "LR-ASPP with MobileNet", "torchvision", known_decoders.LRASPP, "backbone.10", (64, 2, 2),
        'The layer that the backbone returns as "high"; the head joins it with "low".',
    ),
    Architecture("U-Net with ResNet", "smp", known_decoders.unet, "encoder.layer4", (128, 2, 2), DEEPEST_STAGE),
    Architecture(
        "U-Net with EfficientNet", "smp", known_decoders.unet_efficientnet, "encoder._blocks.8", (16, 2, 2),
        "The output of the last block, not the six times as many channels inside it.",
    ),
    Architecture(
        "U-Net with MobileNetV2", "smp", known_decoders.unet_mobilenet, "encoder.features.10", (64, 2, 2),
        "The 1 x 1 convolution to more channels is the encoder's last feature (features.18 in the full network).",
    ),
    Architecture(
        "MAnet", "smp", known_decoders.manet, "encoder.layer4", (128, 2, 2),
        "The encoder's last stage; the attention at its size is the decoder's first block.",
    ),
    Architecture(
        "FPN", "smp", known_decoders.fpn, "encoder.layer4", (128, 2, 2),
        "The encoder's last stage; the 1 x 1 convolution after it belongs to the pyramid.",
    ),
    Architecture(
        "Linknet", "smp", known_decoders.linknet, "encoder.layer4", (128, 2, 2),
        "The encoder's last stage; the decoder's blocks reduce the channels at its size before they enlarge.",
    ),
    Architecture(
        "PSPNet", "smp", known_decoders.pspnet, "encoder.layer2", (32, 8, 8),
        "The last stage that is used (three by default). Pyramid pooling is of fixed cells, and only makes the output.",
    ),
    Architecture(
        "DeepLabV3+", "smp", known_decoders.deeplab_plus, "encoder.layer4", (128, 4, 4),
        "The encoder's last, dilated stage; atrous pooling is in the decoder.",
    ),
    Architecture(
        "pix2pix generator", "-", known_decoders.pix2pix,
        "model.2.model.3.model.3.model.3.model.3.model.2", (8, 1, 1),
        "A bottleneck of 1 x 1 positions: for a larger image it grows, as no summary of the image does.",
    ),
]  # fmt: skip
