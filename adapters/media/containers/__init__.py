"""The byte structure of media files, walked before a decoder sees it."""
