"""Safe input and output: untrusted folders, strict JSON, atomic writes, untrusted text."""
