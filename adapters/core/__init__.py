"""Backbone and adapter at work together: encode, collate, embed, forward, generate; attach and detach."""
