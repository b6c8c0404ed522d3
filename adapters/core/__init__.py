"""Backbone and adapter combined: encode, collate, embed, forward, generate; attach and detach."""
