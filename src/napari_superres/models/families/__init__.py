"""One module a family of models, each with a function `load` that `load_engine` calls by name."""
