"""Scores computed from rows: one file per published metric."""
