"""Real models on a CPU: a language model, a vision encoder and photographs, all from PyPI packages."""
