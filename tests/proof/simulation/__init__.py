"""The whole runtime in one virtual loop, with every fault that a seed can draw."""
