"""All that knows Luigi besides the tasks themselves: worker, parameters, progress, log format."""
