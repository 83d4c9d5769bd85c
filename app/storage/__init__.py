"""The store interface and its adapters: Redis (single, Sentinel, Cluster), in-memory, embedded."""
