"""The miniature ImageBind, and a linear probe for pooled vectors."""
