"""Parts that tests and benchmarks share: servers, clusters, proxies, clients."""
