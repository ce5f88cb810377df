// A file for the checker to find.
