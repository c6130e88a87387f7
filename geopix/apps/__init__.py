"""The user's side of Fig. 1: parse, call, print; no science."""
