"""What a compiler hands over: plans, their policies, what a body is told; knows no execution."""
