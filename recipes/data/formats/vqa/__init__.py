"""VQA v2: questions and annotations, image names, result files."""
