"""What is done: plain functions and frozen values. Nothing here imports Luigi."""
