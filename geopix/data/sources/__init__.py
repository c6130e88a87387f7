"""One file per foreign format; each yields `Sample` (§IV)."""
