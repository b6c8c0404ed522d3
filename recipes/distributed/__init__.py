"""Several processes: ranks and exchange, launch, sharding."""
