"""What everything else stands on: values, errors, files, the clock. Imports nothing else of the project."""
