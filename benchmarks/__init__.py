"""Speed, measured side by side with a reference in the same run."""
