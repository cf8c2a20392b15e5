"""What the job relies on, resolved against what a database says of itself."""
