"""``inlay demo``: the application of ``inlay serve`` with a web page; ``page/`` holds the files for the browser."""
