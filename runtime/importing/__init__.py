"""perdure.runtime.importing: the history that earlier systems have left, taken over into a store."""
