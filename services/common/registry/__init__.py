"""Who is alive: a lease for each node, a membership that everyone watches, claims that only one can hold."""
