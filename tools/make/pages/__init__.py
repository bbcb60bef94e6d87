"""The pages of docs/ that are made of what `tidings bench standard` has measured."""
