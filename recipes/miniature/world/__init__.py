"""The world of pictures: scenes of shapes, handwritten digits, what is said and asked about them."""
