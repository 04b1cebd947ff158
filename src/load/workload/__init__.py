"""What is asked: prompts and answers of chosen lengths, or conversations from a file."""
