"""An execution as its owner holds it in memory, folded from the store's rows; decides nothing. Pure."""
