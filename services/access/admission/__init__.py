"""Who may come in: addresses and the proxies before them, rates, how many at once."""
