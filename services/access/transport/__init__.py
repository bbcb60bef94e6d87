"""How clients are connected: WebSocket (with the little HTTP that belongs to it) and TCP, on one connection core."""
