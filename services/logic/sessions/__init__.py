"""Sessions begin and end; presence follows from them."""
