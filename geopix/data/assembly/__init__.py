"""Sets of annotations into one: filter, join, windows, leak check, shards (§IV-A, §IV-B)."""
