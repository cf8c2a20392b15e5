"""Is the log in a database the one that a checkpoint was signed for, and do the rows agree with it?"""
