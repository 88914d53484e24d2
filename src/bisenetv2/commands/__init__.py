"""One module a verb: a function with the verb's arguments, and `main`, which reads them."""
