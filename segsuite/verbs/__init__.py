"""What each word of the command line does, callable from Python; parsing and printing are the command line's."""
