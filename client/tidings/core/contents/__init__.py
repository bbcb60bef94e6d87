"""What messages say now: folded from what is read and what changes them, grown by streams, expired."""
