"""The four kinds of node, which users inherit from."""
