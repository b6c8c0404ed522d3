"""Training with several processes: launch, ranks and exchange, failures, sharding."""
