"""Run anybody's segmentation model; a U-Net and its training for examples."""
