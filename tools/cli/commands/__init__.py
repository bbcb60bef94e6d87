"""The commands, a module for each family; a module is imported only when one of its commands is used."""
