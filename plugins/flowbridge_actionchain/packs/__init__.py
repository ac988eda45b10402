"""The catalog: what stands in the packs, and what it asks of its parameters."""
