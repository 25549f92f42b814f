"""Benchmarks: one file each, each with functions marked by `@benchmark`; `make bench` runs them."""
