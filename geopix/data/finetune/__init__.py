"""Vision fine-tuning of the describer on what people corrected (§IV-C)."""
