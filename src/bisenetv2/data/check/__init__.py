"""What is wrong with a data set: files, sizes, values, classes, duplicates."""
