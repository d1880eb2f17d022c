"""DSPy's saved states: what its optimizers tuned, brought over to a program and back."""
