"""Cursors of devices and users, and the receipts that follow from them."""
