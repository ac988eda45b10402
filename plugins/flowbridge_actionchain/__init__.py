"""StackStorm's ActionChains and the actions of its packs, run in the bridge's own process."""
