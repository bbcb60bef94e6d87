"""The wire: the client protocol and the services own, with the code generated from them."""
