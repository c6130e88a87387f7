"""The human step (§IV-C): people look at a share of the descriptions, and what they say comes back into the set."""
