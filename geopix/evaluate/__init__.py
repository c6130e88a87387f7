"""Evaluation (§V): what is measured, and how."""
