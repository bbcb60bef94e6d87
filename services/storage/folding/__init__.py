"""What changes make of the entries that they change: judged, folded, shown. Pure."""
