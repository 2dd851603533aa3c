"""Trained models as files that run without convline and torch."""
