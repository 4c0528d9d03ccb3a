"""How the outputs of published networks are read: small ones from configurations, with random weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import hdm_widgets as hw

IMAGE = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
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


def basic_unet_plus_plus():
    from monai.networks.nets import BasicUNetPlusPlus

    return BasicUNetPlusPlus(2, 3, 5, features=(4, 4, 8, 8, 8, 4))


def segresnet():
    from monai.networks.nets import SegResNet

    return SegResNet(2, 8, 3, 5)


def segresnet_vae():
    from monai.networks.nets import SegResNetVAE

    return SegResNetVAE((64, 96), 8, spatial_dims=2, in_channels=3, out_channels=5, init_filters=8)


def attention_unet():
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 3, 5, (4, 8, 8), (2, 2))


def logits(output):
    return output.logits


def of_queries(output):
    """The sum over queries, written out."""
    scores = output.class_queries_logits.softmax(-1)[..., :-1]
    masks = output.masks_queries_logits.sigmoid()
    return sum(scores[:, query, :, None, None] * masks[:, query, None] for query in range(scores.shape[1]))


NETWORKS = {
    "SegFormer": (segformer, logits, "the attribute 'logits'", "resize"),
    "UperNet": (upernet, logits, "the attribute 'logits'", "same"),
    "Mask2Former": (mask2former, of_queries, "classes and masks of queries, combined", "resize"),
    "MaskFormer": (maskformer, of_queries, "classes and masks of queries, combined", "resize"),
    "DynUNet": (dynunet, lambda output: output, "", "same"),
    "BasicUNetPlusPlus": (basic_unet_plus_plus, lambda output: output[0], "the only entry", "same"),
    "SegResNet": (segresnet, lambda output: output, "", "same"),
    "SegResNetVAE": (segresnet_vae, lambda output: output[0], "entry 0 of 2", "same"),
    "AttentionUnet": (attention_unet, lambda output: output, "", "same"),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_masks_are_those_of_the_maps_that_its_authors_use(name):
    make, maps_of, source, align = NETWORKS[name]
    torch.manual_seed(0)
    model = make().eval()
    segmenter = hw.Segmenter(model, target=1)
    mask = segmenter.masks(IMAGE)[0]
    with torch.no_grad():
        maps = F.interpolate(maps_of(model(IMAGE)), IMAGE.shape[-2:], mode="bilinear")
    np.testing.assert_array_equal(mask, maps.argmax(1)[0] == 1)
    assert segmenter.reading.source == source
    assert segmenter.reading.align == align
    assert segmenter.reading.shape[0] == 5
    assert segmenter.reading.classes == "exclusive"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_heads_of_deep_supervision_are_said():
    """BasicUNetPlusPlus gives four heads of one size, of which the last is the deepest."""
    from monai.networks.nets import BasicUNetPlusPlus

    torch.manual_seed(0)
    model = BasicUNetPlusPlus(2, 3, 5, features=(4, 4, 8, 8, 8, 4), deep_supervision=True).eval()
    with pytest.warns(UserWarning, match=r"4 maps of one size that differ.*entry 0 is taken.*output=3"):
        hw.Segmenter(model, target=1).masks(IMAGE)
    mask = hw.Segmenter(model, target=1, output=-1).masks(IMAGE)[0]
    with torch.no_grad():
        np.testing.assert_array_equal(mask, model(IMAGE)[3].argmax(1)[0] == 1)
