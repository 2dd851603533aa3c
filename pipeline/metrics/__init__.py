"""Scores of rows: one file, one published metric."""
