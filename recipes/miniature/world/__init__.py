"""The world of pictures: scenes of shapes and handwritten digits, with their texts and questions."""
