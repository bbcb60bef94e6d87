"""How users come into groups: invites, requests to join, bans."""
