"""The web page of ``inlay demo``: form, question, queue, server; what a browser gets lies in ``page/``."""
