"""Sets for others: parquet as GeoPixInstruct comes, COCO, and the card that goes with them (§IV)."""
