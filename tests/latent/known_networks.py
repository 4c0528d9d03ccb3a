"""Small versions of MONAI's and transformers' networks with three channels, from configurations with random weights."""

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = 3
VIT = {
    "image_size": 64, "patch_size": 16, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
    "intermediate_size": 32,
}  # fmt: skip


# -- MONAI --------------------------------------------------------------------------------------------


def unet():
    from monai.networks.nets import UNet

    return UNet(2, 3, CLASSES, channels=(4, 8, 16, 32), strides=(2, 2, 2), num_res_units=1)


def basic_unet():
    from monai.networks.nets import BasicUNet

    return BasicUNet(2, 3, CLASSES, features=(4, 4, 8, 16, 32, 4))


def basic_unet_plus_plus():
    from monai.networks.nets import BasicUNetPlusPlus

    return BasicUNetPlusPlus(2, 3, CLASSES, features=(4, 4, 8, 16, 32, 4), deep_supervision=True)


def attention_unet():
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 3, CLASSES, (4, 8, 16, 32), (2, 2, 2))


def segresnet():
    from monai.networks.nets import SegResNet

    return SegResNet(2, 8, 3, CLASSES)


def vnet():
    from monai.networks.nets import VNet

    return VNet(2, 4, CLASSES)


def highresnet():
    from monai.networks.nets import HighResNet

    return HighResNet(2, 3, CLASSES)


class ViT(nn.Module):
    """MONAI's ViT, which needs einops: returns the last tokens, and those after every block."""

    def __init__(self):
        super().__init__()
        self.patch_embedding = PatchEmbedding(16)
        self.blocks = nn.ModuleList(TransformerBlock(16) for _ in range(4))
        self.norm = nn.LayerNorm(16)

    def forward(self, images):
        tokens, after = self.patch_embedding(images), []
        for block in self.blocks:
            tokens = block(tokens)
            after.append(tokens)
        return self.norm(tokens), after


class PatchEmbedding(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.patch_embeddings = nn.Conv2d(3, channels, 16, 16)
        self.position_embeddings = nn.Parameter(torch.zeros(1, 16, channels))

    def forward(self, images):
        return self.patch_embeddings(images).flatten(2).transpose(1, 2) + self.position_embeddings


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.qkv, self.out_proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, tokens):
        q, k, v = self.qkv(tokens)[:, None].chunk(3, -1)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v)[:, 0])


class TransformerBlock(nn.Module):
    """Attention between all positions, of tokens or of maps with the channels last."""

    def __init__(self, channels):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = Attention(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, tokens):
        flat = tokens.flatten(1, -2)
        flat = flat + self.attn(self.norm1(flat))
        return (flat + self.mlp(self.norm2(flat))).reshape(tokens.shape)


class UNETR(nn.Module):
    """MONAI's UNETR with its own blocks."""

    def __init__(self):
        from monai.networks.blocks.dynunet_block import UnetOutBlock
        from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrPrUpBlock, UnetrUpBlock

        super().__init__()
        self.vit = ViT()
        self.encoder1 = UnetrBasicBlock(2, 3, 4, 3, 1, "instance", res_block=True)
        self.encoder2, self.encoder3, self.encoder4 = (
            UnetrPrUpBlock(2, 16, out, number, 3, 1, 2, "instance", conv_block=True, res_block=True)
            for number, out in ((2, 8), (1, 16), (0, 32))
        )
        self.decoder5, self.decoder4, self.decoder3, self.decoder2 = (
            UnetrUpBlock(2, into, out, 3, 2, "instance", res_block=True)
            for into, out in ((16, 32), (32, 16), (16, 8), (8, 4))
        )
        self.out = UnetOutBlock(2, 4, CLASSES)

    def forward(self, images):
        tokens, after = self.vit(images)
        first, second, third = (as_maps(after[number]) for number in (1, 2, 3))
        maps = self.decoder5(as_maps(tokens), self.encoder4(third))
        maps = self.decoder4(maps, self.encoder3(second))
        maps = self.decoder3(maps, self.encoder2(first))
        return self.out(self.decoder2(maps, self.encoder1(images)))


def as_maps(tokens):
    return tokens.transpose(1, 2).unflatten(2, (4, 4))


class PatchMerging(nn.Module):
    """Four neighbors of maps with the channels last become one."""

    def __init__(self, channels):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * channels), nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, maps):
        return self.reduction(self.norm(torch.cat([maps[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)))


class SwinLayer(nn.Module):
    """MONAI's BasicLayer: blocks, then patch merging; it takes and puts out channels first."""

    def __init__(self, channels):
        super().__init__()
        self.blocks = nn.ModuleList([TransformerBlock(channels)])
        self.downsample = PatchMerging(channels)

    def forward(self, maps):
        maps = maps.permute(0, 2, 3, 1)
        for block in self.blocks:
            maps = block(maps)
        return self.downsample(maps).permute(0, 3, 1, 2)


class SwinTransformer(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.patch_embed, self.pos_drop = nn.Conv2d(3, channels, 2, 2), nn.Dropout(0.0)
        self.layers1, self.layers2, self.layers3, self.layers4 = (
            nn.ModuleList([SwinLayer(channels * 2**number)]) for number in range(4)
        )

    def forward(self, images):
        found = [self.pos_drop(self.patch_embed(images))]
        for layers in (self.layers1, self.layers2, self.layers3, self.layers4):
            found.append(layers[0](found[-1].contiguous()))
        return [F.layer_norm(one.movedim(1, -1), one.shape[1:2]).movedim(-1, 1) for one in found]


class SwinUNETR(nn.Module):
    """MONAI's SwinUNETR with its own blocks."""

    def __init__(self):
        from monai.networks.blocks.dynunet_block import UnetOutBlock
        from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock

        super().__init__()
        self.swinViT = SwinTransformer(4)
        self.encoder1, self.encoder2, self.encoder3, self.encoder4, self.encoder10 = (
            UnetrBasicBlock(2, into, out, 3, 1, "instance", res_block=True)
            for into, out in ((3, 4), (4, 4), (8, 8), (16, 16), (64, 64))
        )
        self.decoder5, self.decoder4, self.decoder3, self.decoder2, self.decoder1 = (
            UnetrUpBlock(2, into, out, 3, 2, "instance", res_block=True)
            for into, out in ((64, 32), (32, 16), (16, 8), (8, 4), (4, 4))
        )
        self.out = UnetOutBlock(2, 4, CLASSES)

    def forward(self, images):
        hidden = self.swinViT(images)
        skips = [self.encoder1(images), self.encoder2(hidden[0]), self.encoder3(hidden[1]), self.encoder4(hidden[2])]
        maps = self.decoder5(self.encoder10(hidden[4]), hidden[3])
        for decoder, skip in zip(
            (self.decoder4, self.decoder3, self.decoder2, self.decoder1), skips[::-1], strict=True
        ):
            maps = decoder(maps, skip)
        return self.out(maps)


# -- transformers -------------------------------------------------------------------------------------


def segformer():
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(
        SegformerConfig(
            num_labels=CLASSES, hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=32,
        )
    )  # fmt: skip


def beit():
    from transformers import BeitConfig, BeitForSemanticSegmentation

    return BeitForSemanticSegmentation(BeitConfig(**VIT, num_labels=CLASSES, out_indices=[1, 2, 3, 4]))


def dpt():
    from transformers import DPTConfig, DPTForSemanticSegmentation

    return DPTForSemanticSegmentation(
        DPTConfig(
            **VIT, num_labels=CLASSES, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=16,
        )
    )  # fmt: skip


def mobilenet_v2():
    from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation

    return MobileNetV2ForSemanticSegmentation(MobileNetV2Config(num_labels=CLASSES, depth_multiplier=0.25))


def mobilevit():
    from transformers import MobileViTConfig, MobileViTForSemanticSegmentation

    return MobileViTForSemanticSegmentation(
        MobileViTConfig(
            image_size=64, hidden_sizes=[16, 16, 16], neck_hidden_sizes=[4, 8, 8, 16, 16, 16, 32], num_labels=CLASSES,
            aspp_out_channels=16, num_attention_heads=2,
        )
    )  # fmt: skip


class DinoWithLinearHead(nn.Module):
    """DINOv2 with registers and a 1 x 1 classifier of its patches, as people write it."""

    def __init__(self):
        from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

        super().__init__()
        config = VIT | {"mlp_ratio": 2, "num_register_tokens": 4}
        del config["intermediate_size"]
        self.backbone = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**config))
        self.classifier = nn.Conv2d(16, CLASSES, 1)

    def forward(self, images):
        tokens = self.backbone(images).last_hidden_state[:, 5:]
        rows, cols = (size // 16 for size in images.shape[-2:])
        maps = self.classifier(tokens.transpose(1, 2).unflatten(2, (rows, cols)))
        return F.interpolate(maps, size=images.shape[-2:], mode="bilinear")
