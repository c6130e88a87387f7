"""Ablations (§V-F, Tables IX, X, XI): rows as settings, trained on one language side's kept outputs, and a verdict."""
