"""Objects that a caption mentions, and whether the image contains them."""
