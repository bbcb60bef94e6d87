"""The loads: one module a workload, on a crowd of users that keeps to a pace."""
