"""From the mailbox to the connections: parcels, forwarding, frames."""
