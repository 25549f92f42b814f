"""Set-up of a garage on one server: what `make up`, `down`, `purge`, `test`, `bench` and `lock` do. Standard library only."""
