"""Next-token prediction: captioning, conversations, questions, instructions."""
