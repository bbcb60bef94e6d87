"""From a hello to the welcome: the hello is checked, the session is stored, older ones of its device are ended."""
