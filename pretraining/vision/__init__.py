"""The miniature vision encoders: CLIP and EVA."""
