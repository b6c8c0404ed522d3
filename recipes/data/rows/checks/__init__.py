"""Checks of the media that rows name, before the first step."""
