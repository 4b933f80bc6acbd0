"""What happens: the rules of each noun, and the edges that people and programs come in by."""
