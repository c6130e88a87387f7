"""One file per foreign format; each yields entries, and tells what it left out and why (§IV)."""
