"""Several processes: launch, ranks and exchange, failures, sharding."""
