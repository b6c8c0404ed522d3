"""Encoders of images: the vision transformers of CLIP, ViT and BLIP-2 (EVA-CLIP), and BLIP-2's frozen Q-Former."""
