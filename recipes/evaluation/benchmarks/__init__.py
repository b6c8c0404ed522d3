"""Public benchmarks from the files that their owners publish: questions, official scores, blind rows, results files."""
