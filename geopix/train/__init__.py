"""Training: cached features, one loop, stages as YAML files (§III-C, §V-A)."""
