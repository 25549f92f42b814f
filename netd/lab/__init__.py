"""The laboratory: a small internet of network namespaces on one server, with no way out of it."""
