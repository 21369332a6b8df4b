"""Use: what people and boards ask of the fleet, once for all doors (API, page, command line, a cluster)."""
