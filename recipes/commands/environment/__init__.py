"""Commands about the machine and the shell: ``inlay doctor`` and ``inlay completion``."""
