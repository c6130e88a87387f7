"""Fig. 2, one file per box; imports nothing of ours but the nouns."""
