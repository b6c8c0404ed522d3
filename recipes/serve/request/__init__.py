"""Requests: the JSON body, its media and its conversation, checked."""
