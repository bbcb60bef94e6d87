"""What a cluster is watched with, as code: dashboards, recording rules, alerts; and a Prometheus to try them on."""
