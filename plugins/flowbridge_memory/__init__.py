"""The reference engine: the Mistral workflow language v2, run in the bridge's own process."""
