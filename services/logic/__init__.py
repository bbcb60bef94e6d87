"""Logic nodes decide: who may speak, who receives, where it goes."""
