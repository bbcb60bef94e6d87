"""Changes of groups: in whose name they are made, made, and told to the members."""
