"""What a run says: its document and tables, beside an earlier one and beside what must be."""
