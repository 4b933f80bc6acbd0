"""The proof: one file per noun, and tests of the whole."""
