"""States that DSPy itself wrote, and the programs they belong to."""
