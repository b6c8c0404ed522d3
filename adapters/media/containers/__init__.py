"""The byte structure of media files, checked before a decoder reads it."""
