"""GeoPixInstruct: sources, construction, descriptions and the training mixture (§IV, §III-C)."""
