"""Answers to queries, kept as bytes for as long as nothing that they hang on has changed."""
