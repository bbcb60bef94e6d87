"""What the makers of this repository run: generators of code, pages, boards and charts, and checks; not shipped."""
