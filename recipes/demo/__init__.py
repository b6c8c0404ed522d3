"""The web page of ``inlay demo``: form, question, queue, server; ``page/`` holds the files for the browser."""
