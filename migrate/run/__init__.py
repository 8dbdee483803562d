"""The folder of a run and the state that its journal folds to."""
