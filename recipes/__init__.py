"""Train, evaluate, chat: the systems, their data and their metrics."""
